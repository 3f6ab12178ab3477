"""Synchronise Milvus with the catalogue: encode missing images again, delete orphaned entities.

A lost collection is created again, and all images are encoded. Searches and changes continue meanwhile; an interrupted
run resumes where it stopped. Orphans are left by changes that a crash or a lost connection interrupts; they are
harmless until they are deleted.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalogue import index_versions
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, FeatureSet, Image, IndexVersion
from app.catalogue.encodings import put_encodings
from app.catalogue.storage.protocol import ImageStorage
from app.catalogue.trash import used_slots
from app.ingest.embedding_writer import EmbeddingWriter
from app.search.decode.retries import retry_while_unavailable

if TYPE_CHECKING:
    from app.search.milvus.index import MilvusIndex

# Slots per query to Milvus, and images per batch of the encoder.
_QUERY_BATCH, _ENCODE_BATCH = 10_000, 64
# Entities younger than this may belong to an addition in progress.
MIN_ORPHAN_AGE_S = 3600.0

Report = Callable[[int, int], None]


@dataclass
class SyncResult:
    """Images encoded, orphans deleted, and the keys of images whose originals are missing or damaged."""

    encoded: int
    deleted: int
    lost: list[str]


class MilvusSync:
    """Synchronises one index version in Milvus."""

    def __init__(
        self, database: Database, files: ImageStorage, index: "MilvusIndex", encodings: EmbeddingWriter
    ) -> None:
        self._database, self._files, self._encodings = database, files, encodings
        self._collection, self._truth = index.collection, index.slot_lookup

    def run(self, report: Report, young: float = MIN_ORPHAN_AGE_S) -> SyncResult:
        """Encode missing images and delete orphans; `report` is called with (done, total).

        Raises:
            UnavailableError: Milvus, disk or database cannot be used; completed batches are kept.
        """
        synced = SyncResult(0, 0, [])
        with self._database.read_session() as session:
            done, (_, total) = 0, index_versions.encoded_and_total(session, self._encodings.index_version_id)
        for pictures, slots in self._pages():
            missing = np.flatnonzero(~self._collection.present(slots))
            for first in range(0, len(missing), _ENCODE_BATCH):
                self._encode([pictures[at] for at in missing[first : first + _ENCODE_BATCH]], synced)
                report(done + first, total)
            done += len(pictures)
            report(done, max(done, total))
        for orphans in self._orphans(time.time() - young):
            self._collection.delete(orphans)
            synced.deleted += len(orphans)
        return synced

    def _pages(self) -> Iterator[tuple[Sequence[Image], np.typing.NDArray[np.int64]]]:
        """Yield all images with their slots, page by page."""
        last = 0
        while rows := self._page(last):
            yield [picture for picture, _ in rows], np.array([slot for _, slot in rows], np.int64)
            last = rows[-1][0].id

    def _page(self, after: int) -> list[tuple[Image, int]]:
        with self._database.read_session() as session:
            encoded = (Encoding.image_id == Image.id) & (Encoding.index_version_id == self._encodings.index_version_id)
            page = select(Image, Encoding.slot).join(Encoding, encoded).where(Image.id > after)
            return [(one, slot) for one, slot in session.execute(page.order_by(Image.id).limit(_QUERY_BATCH))]

    def _encode(self, pictures: Sequence[Image], synced: SyncResult) -> None:
        encodings = retry_while_unavailable(lambda: self._encodings.encode_originals(self._files, pictures))
        with self._database.transaction() as session:
            put_encodings(session, self._encodings.index_version_id, encodings)
        encoded = {picture.id for picture, _ in encodings}
        synced.encoded += len(encoded)
        synced.lost += [picture.key for picture in pictures if picture.id not in encoded]

    def _orphans(self, before: float) -> Iterator[list[int]]:
        """Yield slots written before a time (Unix seconds) that belong to no image, not even in the trash."""
        with self._database.read_session() as session:
            end = _next_slot(session, self._encodings.index_version_id)
        for first in range(0, end, _QUERY_BATCH):
            slots = self._collection.list_inserted_before(before, first, min(first + _QUERY_BATCH, end))
            unused = slots[self._truth.image_ids(slots) < 0].tolist()
            with self._database.read_session() as session:
                kept = used_slots(session, self._encodings.index_version_id, unused)
            if orphans := [slot for slot in unused if slot not in kept]:
                yield orphans
        # Slots that were never reserved: the database is older than Milvus, as after a restore.
        while len(slots := self._collection.list_inserted_before(before, end, None)):
            yield slots.tolist()


def _next_slot(session: Session, index_version_id: int) -> int:
    owner = FeatureSet.id == IndexVersion.feature_set_id
    found = select(FeatureSet.next_slot).join(IndexVersion, owner).where(IndexVersion.id == index_version_id)
    return session.scalars(found).one()
