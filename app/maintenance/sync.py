"""Brings Milvus in line with the truth: what is missing there is encoded anew, and what is nobody's is cleared away.

A collection that Milvus has lost is empty to begin with, and all of it is missing. Searches and changes go on
meanwhile; stopped, it goes on where it was. What additions, replacements and deletions leave behind that a crash or a
lost connection cut short does no harm until then.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalogue import changes, generations
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Generation, Picture
from app.catalogue.storage.protocol import PictureStore
from app.ingest.embedding_writer import Encodings
from app.search.decode.retries import retried

if TYPE_CHECKING:
    from app.search.milvus.index import MilvusIndex

# Slots that Milvus is asked about together, and pictures that are encoded together.
_LOOKED_AT, _ENCODED = 10_000, 64
# What was kept so lately may belong to an addition that is about to be committed.
YOUNG_S = 3600.0

Report = Callable[[int, int], None]


@dataclass
class Synced:
    """Pictures encoded anew, slots cleared, and the keys of pictures whose originals are missing or damaged."""

    encoded: int
    cleared: int
    lost: list[str]


class Sync:
    """Works on one generation that is in Milvus."""

    def __init__(self, database: Database, files: PictureStore, index: "MilvusIndex", encodings: Encodings) -> None:
        self._database, self._files, self._encodings = database, files, encodings
        self._collection, self._truth = index.collection, index.truth

    def run(self, report: Report, young: float = YOUNG_S) -> Synced:
        """Fills and clears; `report` hears how many pictures of how many are looked at.

        Raises:
            UnavailableError: Milvus, disk or database cannot be used; what was done is done.
        """
        synced = Synced(0, 0, [])
        with self._database.asking() as session:
            done, (_, total) = 0, generations.progress(session, self._encodings.generation_id)
        for pictures, slots in self._pages():
            missing = np.flatnonzero(~self._collection.present(slots))
            for first in range(0, len(missing), _ENCODED):
                self._encode([pictures[at] for at in missing[first : first + _ENCODED]], synced)
                report(done + first, total)
            done += len(pictures)
            report(done, max(done, total))
        for orphans in self._orphans(time.time() - young):
            self._collection.delete(orphans)
            synced.cleared += len(orphans)
        return synced

    def _pages(self) -> Iterator[tuple[Sequence[Picture], np.typing.NDArray[np.int64]]]:
        """Yields all pictures with the slots that they should have, page by page."""
        last = 0
        while rows := self._page(last):
            yield [picture for picture, _ in rows], np.array([slot for _, slot in rows], np.int64)
            last = rows[-1][0].id

    def _page(self, after: int) -> list[tuple[Picture, int]]:
        with self._database.asking() as session:
            encoded = (Encoding.image_id == Picture.id) & (Encoding.index_version_id == self._encodings.generation_id)
            page = select(Picture, Encoding.slot).join(Encoding, encoded).where(Picture.id > after)
            return [(one, slot) for one, slot in session.execute(page.order_by(Picture.id).limit(_LOOKED_AT))]

    def _encode(self, pictures: Sequence[Picture], synced: Synced) -> None:
        again = retried(lambda: self._encodings.of_originals(self._files, pictures))
        with self._database.begin() as session:
            changes.put_encodings(session, self._encodings.generation_id, again)
        encoded = {picture.id for picture, _ in again}
        synced.encoded += len(encoded)
        synced.lost += [picture.key for picture in pictures if picture.id not in encoded]

    def _orphans(self, moment: float) -> Iterator[list[int]]:
        """Yields slots that were filled before a moment and are nobody's."""
        with self._database.asking() as session:
            end = _next_slot(session, self._encodings.generation_id)
        for first in range(0, end, _LOOKED_AT):
            slots = self._collection.kept_before(moment, first, min(first + _LOOKED_AT, end))
            if len(orphans := slots[self._truth.pictures(slots) < 0]):
                yield orphans.tolist()
        # Nobody was given these: the database is older than Milvus, as after a restore to an earlier moment.
        while len(slots := self._collection.kept_before(moment, end, None)):
            yield slots.tolist()


def _next_slot(session: Session, generation_id: int) -> int:
    return session.scalars(select(Generation.next_slot).where(Generation.id == generation_id)).one()
