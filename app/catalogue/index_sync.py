"""Incremental sync of this process's index with the catalogue.

Each process has its own index. Before a search it reads the catalogue's `seq`, and applies the changes since its own.
So every search finds what any process acknowledged before it.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.orm import Session

from app.catalogue.database import columnar_fetch
from app.catalogue.database.priority import Priority, priority
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState, Deletion, Encoding, Image
from app.catalogue.filters.cache import FILTER_BYTES, FilterCache
from app.catalogue.queries import ImageSummary, first_of_group, ids_by_key, image_summaries
from app.catalogue.summary_cache import SummaryCache
from app.common.unicode_names import nfc
from app.errors import ModelSwitchedError
from app.search.index import Index
from app.search.types import Ids, IndexEntries, SearchOptions, Subset

Result = TypeVar("Result")

_STATE = select(CatalogueState.seq, CatalogueState.milvus_timestamp, CatalogueState.index_version_id)


class IndexSync:
    """A searchable view of the catalogue, synced on demand; `seq` is the last change applied to the index.

    Args:
        database: the catalogue's database.
        index: the index to sync.
        index_version_id: id of its index version.
        bits: length of a code.
        inactive: sync before the index version becomes the active one, until `activate`.
        filter_bytes: memory limit of the filter cache.
        load: fills the empty index with an earlier state of the catalogue, read elsewhere, and returns its `seq`; -1 if
            there is none. The session is a snapshot of the database.
    """

    def __init__(
        self,
        database: Database,
        index: Index,
        index_version_id: int,
        bits: int,
        *,
        inactive: bool = False,
        filter_bytes: int = FILTER_BYTES,
        load: Callable[[Session], int] = lambda _session: -1,
    ) -> None:
        self._database, self._index, self._index_version_id, self._bits = database, index, index_version_id, bits
        self._ahead, self._load = inactive, load
        self._filters, self._summaries = FilterCache(filter_bytes, index.subset_cache_bytes), SummaryCache()
        self._lock = threading.Lock()
        self.seq = -1

    def synced_index(self) -> Index:
        """Sync the index and return it, with all changes that were committed before this call.

        Raises:
            UnavailableError: the database is unavailable.
            ModelSwitchedError: the catalogue has switched to another index version.
        """
        with priority(Priority.IMMEDIATE):
            if self._latest() > self.seq:
                self._sync()
        return self._index

    def at_one_seq(self, read: Callable[[], Result]) -> tuple[int, Result]:
        """Return the last change applied to the index, and what a function reads of the index in this state."""
        with self._lock:
            return self.seq, read()

    def activate(self) -> None:
        """Called when this index version becomes the active one; `synced_index` raises if it no longer is."""
        self._ahead = False

    def filtered(self, options: SearchOptions) -> Subset | None:
        """Return the images that match the options' filters; None without filters."""
        return self._filters.subset(self._database, options, self.seq)

    def first_of_group(self, ids: Ids, field: str) -> NDArray[np.int64]:
        """Return for each of `ids` the position of the first image of its group; -1 for deleted images."""
        with self._database.read_connection() as connection:
            return first_of_group(connection, ids.tolist(), field)

    def ids_by_key(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Return the ids of images by key, as the key is given; unknown keys are left out."""
        if not keys:
            return {}
        with self._database.read_session() as session:
            found = ids_by_key(session, [nfc(key) for key in keys])
        return {key: found[nfc(key)] for key in keys if nfc(key) in found}

    def summaries(self, ids: Sequence[int]) -> Mapping[int, ImageSummary]:
        """Return the search result fields of images by id, as of `synced_index` or later; deleted ones are left out."""
        generation, found = self._summaries.get(ids)
        if missing := [image_id for image_id in ids if image_id not in found]:
            known_bytes = sum(row.size for row in found.values())
            with self._database.read_connection() as connection:
                rows = image_summaries(connection, missing, known_bytes)
            self._summaries.store(rows, generation)
            found |= rows
        return found

    def _latest(self) -> int:
        with self._database.read_connection() as connection:
            return self._state(connection)[0]

    def _sync(self) -> None:
        with self._lock, self._database.snapshot() as session:
            latest, moment = self._state(session)
            if latest <= self.seq:
                return
            if self.seq < 0 and not self._ahead:
                self.seq = self._load(session)
            changes = ChangeSet(session, self._index_version_id, self.seq, self._bits // 8, moment)
            self._index.apply(changes)
            self._summaries.discard(lambda: changes.changed_or_deleted().tolist())
            self.seq = latest

    def _state(self, connection: Connection | Session) -> tuple[int, int]:
        """Return the last `seq`, and the Milvus timestamp from which all changes up to it are visible."""
        seq, moment, index_version_id = connection.execute(_STATE).one()
        if index_version_id != self._index_version_id and not self._ahead:
            raise ModelSwitchedError(index_version_id)
        return int(seq), int(moment)


@dataclass(frozen=True)
class ChangeSet:
    """Changes after a `seq` (-1 for all), read in one database snapshot."""

    session: Session
    index_version_id: int
    seq: int
    code_bytes: int
    milvus_timestamp: int

    def deleted(self) -> Ids:
        """Return the ids of deleted images; empty for an initial sync."""
        if self.seq < 0:
            return np.zeros(0, np.int64)
        ids: Ids = columnar_fetch.fetch_columns(self.session, Deletion.image_id, Deletion.seq > self.seq)["key"].astype(
            np.int64
        )
        return ids

    def changed_or_deleted(self) -> Ids:
        """Return the ids of images whose rows changed, and of deleted ones."""
        rows = columnar_fetch.fetch_columns(self.session, Image.id, Image.seq > self.seq)["key"].astype(np.int64)
        return np.concatenate([rows, self.deleted()])

    def entries(self) -> IndexEntries:
        """Return the encodings of new and re-encoded images."""
        return fetch_encodings(self.session, self.index_version_id, self.seq, self.code_bytes)

    def count_images(self, count: int, newest: int) -> tuple[int, int]:
        """Return the number of images and the newest id, given those at the last sync.

        Ids grow with `seq`, so an image that was added and deleted since then has a larger id and does not count. All
        are counted if images were restored, because these have old ids.
        """
        if self.session.scalars(select(CatalogueState.restored_seq)).one() > self.seq:
            count, newest, gone = 0, 0, 0
        else:
            removed = select(func.count()).where(Deletion.seq > self.seq, Deletion.image_id <= newest)
            gone = self.session.scalars(removed).one()
        more, last = self.session.execute(select(func.count(), func.max(Image.id)).where(Image.id > newest)).one()
        return count + more - gone, max(newest, last or 0)


def fetch_encodings(
    session: Session, index_version_id: int, after: int, code_bytes: int, *conditions: ColumnElement[bool]
) -> IndexEntries:
    """Fetch the encodings of an index version that changed after a `seq` and meet some conditions."""
    rows = columnar_fetch.fetch_columns(
        session,
        Encoding.image_id,
        Encoding.index_version_id == index_version_id,
        Encoding.seq > after,
        *conditions,
        integers={"slot": Encoding.slot, "checksum": Encoding.checksum},
        binary=("code", Encoding.code, code_bytes),
    )
    return IndexEntries(
        ids=rows["key"].astype(np.int64),
        codes=np.ascontiguousarray(rows["code"]).view(np.uint8).reshape(len(rows), code_bytes),
        slots=rows["slot"].astype(np.int64),
        checksums=rows["checksum"].astype(np.uint32),
    )
