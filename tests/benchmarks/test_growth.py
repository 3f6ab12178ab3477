"""The growth benchmark, and its synthetic catalogue in a real database, at a toy size."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from app.catalogue import index_versions
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Image
from app.catalogue.index_sync import IndexSync
from app.catalogue.vectors.file import VectorFile
from app.search.local.index import LocalIndex
from benchmarks import growth
from benchmarks.options import Options, space_shortage
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from benchmarks.synthetic.populated import LABELS, PopulatedCatalogue
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK

PICTURES, DIM, BITS = 9000, 64, 64


def test_populated_catalogue_matches_the_synthetic_data(database: Database, tmp_path: Path) -> None:
    with database.transaction() as session:
        index_version_id = index_versions.activate_for(session, FAKE_NETWORK, FAKE_CHECKPOINT).id
    made = SyntheticCatalogue(PICTURES, DIM, BITS)
    blocks = list(made.blocks())
    codes, features = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    with closing(VectorFile(tmp_path / "made.f32", DIM)) as vectors:
        filling = PopulatedCatalogue(database, index_version_id, LocalIndex(BITS, vectors), made)
        for size in (100, 8500, PICTURES):
            filling.up_to(size)
            with database.read_session() as session:
                assert session.scalar(select(func.count(Image.id))) == size
                assert session.scalar(select(func.count(Encoding.slot))) == size
        index = LocalIndex(BITS, vectors)
        IndexSync(database, index, index_version_id, BITS).synced_index()
        for at in (0, 99, 100, 8191, 8192, PICTURES - 1):
            found = index.find(at + 1)
            assert found is not None
            np.testing.assert_array_equal(found[0], codes[at])
            np.testing.assert_array_equal(found[1], features[at])
    with database.read_session() as session:
        for label, share in LABELS.items():
            assert session.scalar(select(func.count(Image.id)).where(Image.label == label)) == share * PICTURES


def test_growth_benchmark_measures_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "SIZES", (1500, 3000, 50_000))
    tmp_path.chmod(0o755)
    rows = {
        row.name: row
        for row in growth.run(Options(4000, floats=(32,), bits=(32,), folder=tmp_path), lambda _: None).rows
    }
    for size in ("1,500", "3,000", "4,000"):
        for what in ("start", "coarse", "fine"):
            assert rows[f"{what}, {size} pictures"].value
        assert 0 < (rows[f"memory a picture, {size} pictures"].value or 0) < 100
    assert not any("50,000" in name for name in rows), "limited by the option"


def test_space_shortage_returns_a_message(tmp_path: Path) -> None:
    assert space_shortage(tmp_path, 1000) is None
    assert "needed" in (space_shortage(tmp_path / "new", 1e18) or "")
