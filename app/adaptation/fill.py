"""Fill an adapted index version from stored F7: nothing is decoded or encoded again."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session, aliased

from app.catalogue import index_versions
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding
from app.catalogue.encodings import SlotCodes, add_codes
from app.errors import LookalikeError
from app.search.index import Index
from app.search.types import Ids, IndexEntries
from models.network.latent_layer import LatentLayer

# Rows per transaction: some tens of megabytes of F7. Other changes wait for each, some tenths of a second.
_PAGE = 8192

Report = Callable[[int, int], None]


class FeatureFiller:
    """Computes codes by an H over F7 that another version of the feature set refers to.

    Args:
        database: the catalogue.
        source: the version to copy slots from.
        index_version_id: the version to fill.
        index: the index of the version to fill.
        latent: its H.
        known: codes by this H that are computed already.
    """

    def __init__(
        self,
        database: Database,
        source: int,
        index_version_id: int,
        index: Index,
        latent: LatentLayer,
        known: IndexEntries,
    ) -> None:
        self._database, self._source, self.index_version_id = database, source, index_version_id
        self._index, self._latent, self._known = index, latent, known

    def fill(self, report: Report) -> None:
        """Add the codes that are missing, in order of id; images added meanwhile may remain."""
        with self._database.read_session() as session:
            done, total = index_versions.encoded_and_total(session, self.index_version_id)
        last, rows = 0, _PAGE
        while rows == _PAGE:
            last, rows = self._fill_page(last)
            done += rows
            report(done, max(done, total))

    def fill_last(self) -> bool:
        """Add the last codes; return False if there are too many."""
        return self._fill_page(0)[1] < _PAGE

    def is_complete(self, session: Session) -> bool:
        """Return whether this version has all codes that the source has."""
        return session.execute(self._missing(0).limit(1)).first() is None

    def _fill_page(self, after: int) -> tuple[int, int]:
        """Add the codes of the next images after an id; return the last id and the number of images."""
        with self._database.read_session() as session:
            rows = np.array(session.execute(self._missing(after).limit(_PAGE)).all(), np.int64).reshape(-1, 3)
        if not len(rows):
            return after, 0
        ids, slots, checksums = rows.T
        codes = self._codes(ids, slots, checksums.astype(np.uint32))
        timestamp = self._index.store_codes(slots, codes)
        with self._database.transaction() as session:
            add_codes(session, self._source, self.index_version_id, SlotCodes(ids, slots, codes, timestamp))
        return int(ids[-1]), len(ids)

    def _codes(self, ids: Ids, slots: Ids, checksums: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Return the codes of images: those that are known for the same slot, and the others from F7."""
        rows = np.minimum(np.searchsorted(self._known.ids, ids), len(self._known.ids) - 1)
        codes = self._known.codes[rows]
        new = (self._known.ids[rows] != ids) | (self._known.slots[rows] != slots)
        if new.any():
            features, intact = self._index.stored_features(slots[new], checksums[new])
            if not intact.all():
                raise damaged_error(int((~intact).sum()))
            codes[new] = self._latent.codes(features)
        return codes

    def _missing(self, after: int) -> Select[int, int, int]:
        """Select id, slot and checksum of images that the source has and this version lacks, in order of id."""
        own = aliased(Encoding)
        there = exists().where(own.index_version_id == self.index_version_id, own.image_id == Encoding.image_id)
        columns = select(Encoding.image_id, Encoding.slot, Encoding.checksum)
        of_source = Encoding.index_version_id == self._source
        return columns.where(of_source, Encoding.image_id > after, ~there).order_by(Encoding.image_id)


def damaged_error(count: int) -> LookalikeError:
    """Return the error to raise if vectors are damaged."""
    return LookalikeError(
        f"The vectors of {count} images are damaged or being replaced, so no codes were fitted. "
        "Run `lookalike check --repair`, then try again."
    )
