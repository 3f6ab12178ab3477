"""Cache of the image ids that match a filter, updated incrementally.

The database lists a filter's matches when it is first used. Later searches reuse the result, and query only the images
that have changed since. The cache is bounded in bytes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import and_
from sqlalchemy.orm import Session

from app.catalogue.database import columnar_fetch
from app.catalogue.database.sessions import Database
from app.catalogue.database.single_flight import SingleFlight
from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import Condition, filter_condition
from app.search.filter import Filter
from app.search.types import Ids, SearchOptions, Subset
from app.search.words import TextQuery

# Default memory limit of the cache.
FILTER_BYTES = 256_000_000
# Memory of an entry beside its ids: fixed, and per character of the filter for its parsed tree.
_ENTRY_BYTES, _BYTES_PER_CHARACTER = 1024, 16

# Cache key: label, filter and words, each optional.
_Key = tuple[str | None, Filter | None, TextQuery | None]


@dataclass(frozen=True)
class _Entry:
    """The matching images as of `seq`, and their memory in bytes."""

    seq: int
    subset: Subset
    bytes: int


class FilterCache:
    """LRU cache of filter results. Thread-safe.

    Args:
        max_bytes: memory limit; a larger single result is not cached.
        bytes_beside: returns the memory that the index keeps for a subset.
    """

    def __init__(self, max_bytes: int, bytes_beside: Callable[[Subset], int]) -> None:
        self._max_bytes, self._bytes_beside, self._bytes = max_bytes, bytes_beside, 0
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._flights: SingleFlight[tuple[_Key, int], Subset] = SingleFlight()

    @property
    def bytes_in_use(self) -> int:
        """Memory of the cached results in bytes."""
        return self._bytes

    def subset(self, database: Database, options: SearchOptions, seq: int) -> Subset | None:
        """Return the matching images as of `seq` or later; None without a filter.

        Concurrent calls for the same filter share one database query. The result may contain deleted images.
        """
        key = options.label, options.filter, options.words
        if key == (None, None, None):
            return None
        entry_seq, subset = self._get(key)
        if subset is not None and entry_seq >= seq:
            return subset
        return self._flights.run((key, seq), lambda: self._query(database, key, seq))

    def _query(self, database: Database, key: _Key, seq: int) -> Subset:
        # Another thread may have stored the result meanwhile.
        entry_seq, subset = self._get(key)
        if subset is None:
            with database.scan_session() as session:
                subset = Subset(_ids(session, filter_condition(*key)))
        elif entry_seq < seq:
            with database.read_session() as session:
                subset = _updated(session, subset, Image.seq > entry_seq, filter_condition(*key))
        self._store(key, max(entry_seq, seq), subset)
        return subset

    def _get(self, key: _Key) -> tuple[int, Subset | None]:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return -1, None
            self._entries.move_to_end(key)
            return entry.seq, entry.subset

    def _store(self, key: _Key, seq: int, subset: Subset) -> None:
        entry = _Entry(seq, subset, self._size(key, subset))
        with self._lock:
            self._evict(key)
            if entry.bytes > self._max_bytes:
                return
            self._entries[key] = entry
            self._bytes += entry.bytes
            while self._bytes > self._max_bytes:
                self._evict(next(iter(self._entries)))

    def _evict(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        self._bytes -= 0 if entry is None else entry.bytes

    def _size(self, key: _Key, subset: Subset) -> int:
        label, *parsed = key
        characters = len(label or "") + sum(len(part.text) for part in parsed if part is not None)
        overhead = _ENTRY_BYTES + _BYTES_PER_CHARACTER * characters
        return overhead + subset.ids.nbytes + self._bytes_beside(subset)


def _updated(session: Session, subset: Subset, changed: Condition, passing: Condition) -> Subset:
    changed_ids = _ids(session, changed)
    if not len(changed_ids):
        return subset
    unchanged = np.setdiff1d(subset.ids, changed_ids, assume_unique=True)
    return Subset(np.union1d(unchanged, _ids(session, and_(changed, passing))))


def _ids(session: Session, condition: Condition) -> Ids:
    ids: Ids = columnar_fetch.fetch_columns(session, Image.id, condition)["key"].astype(np.int64)
    return ids
