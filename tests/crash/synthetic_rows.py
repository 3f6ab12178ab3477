"""Fill a catalogue with synthetic rows, so that a start has something to load."""

from contextlib import closing
from functools import cached_property
from pathlib import Path

from app.bootstrap import index_locations, open_database
from app.catalogue.index_versions import find_or_create
from app.model_switch.index_factory import open_index
from app.settings import Settings
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from benchmarks.synthetic.populated import PopulatedCatalogue
from models.network.codes import Floats
from models.training.itq import lsh
from tests.fakes import BITS, FAKE_CHECKPOINT, FAKE_NETWORK, FEATURE_DIM


class Crowd(SyntheticCatalogue):
    """A synthetic catalogue whose codes may be longer than F7, unlike those of ITQ."""

    @cached_property
    def _hyperplanes(self) -> tuple[Floats, Floats]:
        return lsh(self._draw(1000, (3, 0)), self.bits, self.seed)


def add_synthetic_rows(data_dir: Path, rows: int) -> None:
    """Fill an empty catalogue of the fake network with synthetic images, without files."""
    settings = Settings(data_dir=data_dir, demo="off", _env_file=None)
    with open_database(settings) as database:
        with database.transaction() as session:
            index_version = find_or_create(session, FAKE_NETWORK, FAKE_CHECKPOINT)
        with closing(open_index(database, index_version, index_locations(settings))) as index:
            PopulatedCatalogue(database, index_version.id, index, Crowd(rows, FEATURE_DIM, BITS)).up_to(rows)
