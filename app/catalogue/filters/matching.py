"""Which pictures pass a filter: asked once, then kept in step with the changes.

A filter's pictures are asked for when it is first used. Later searches use the same answer while nothing changes,
and ask only for the pictures that changed where something has. What is kept is bounded in bytes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import and_
from sqlalchemy.orm import Session

from app.catalogue.database import columnar_fetch as bulk
from app.catalogue.database.sessions import Database
from app.catalogue.database.single_flight import SingleFlight
from app.catalogue.database.tables import Picture
from app.catalogue.filters.sql import Condition, passes
from app.search.filter import Filter
from app.search.types import Ids, SearchOptions, Subset

# What filters may take in memory unless the settings say otherwise.
FILTER_BYTES = 256_000_000
# What an entry takes at least: its own objects, and for each character of the filter a part of the tree of tests.
_ENTRY_BYTES, _CHARACTER_BYTES = 1024, 16

# A label and a filter, each where it is given.
Asked = tuple[str | None, Filter | None]


@dataclass(frozen=True)
class _Entry:
    """The pictures that pass as of `seq`, and the bytes that they take."""

    seq: int
    subset: Subset
    bytes: int


class Filters:
    """The filters that were used lately. Safe for many threads.

    Args:
        most_bytes: what they may take together; those that were used longest ago go first, and one that takes more than
            that alone is never kept.
        bytes_beside: how much memory the index keeps beside a subset.
    """

    def __init__(self, most_bytes: int, bytes_beside: Callable[[Subset], int]) -> None:
        self._most_bytes, self._bytes_beside, self._bytes = most_bytes, bytes_beside, 0
        self._known: OrderedDict[Asked, _Entry] = OrderedDict()
        self._changing = threading.Lock()
        self._flights: SingleFlight[tuple[Asked, int], Subset] = SingleFlight()

    @property
    def bytes_in_use(self) -> int:
        """How much memory they take."""
        return self._bytes

    def subset(self, database: Database, options: SearchOptions, seq: int) -> Subset | None:
        """Returns the pictures that pass, as of `seq` or later; None where there is no filter.

        The database is asked only where the answer is not at hand, and once for all who ask for the same at the same
        time. A picture that was deleted may still be among them.
        """
        asked = options.label, options.filter
        if asked == (None, None):
            return None
        since, subset = self._find(asked)
        if subset is not None and since >= seq:
            return subset
        return self._flights.do((asked, seq), lambda: self._ask(database, asked, seq))

    def _ask(self, database: Database, asked: Asked, seq: int) -> Subset:
        # Another thread's work may have ended since the caller looked.
        since, subset = self._find(asked)
        if subset is None:
            with database.scanning() as session:
                subset = Subset(_ids(session, passes(*asked)))
        elif since < seq:
            with database.asking() as session:
                subset = _updated(session, subset, Picture.seq > since, passes(*asked))
        self._keep(asked, max(since, seq), subset)
        return subset

    def _find(self, asked: Asked) -> tuple[int, Subset | None]:
        with self._changing:
            entry = self._known.get(asked)
            if entry is None:
                return -1, None
            self._known.move_to_end(asked)
            return entry.seq, entry.subset

    def _keep(self, asked: Asked, seq: int, subset: Subset) -> None:
        entry = _Entry(seq, subset, self._size(asked, subset))
        with self._changing:
            self._forget(asked)
            if entry.bytes > self._most_bytes:
                return
            self._known[asked] = entry
            self._bytes += entry.bytes
            while self._bytes > self._most_bytes:
                self._forget(next(iter(self._known)))

    def _forget(self, asked: Asked) -> None:
        entry = self._known.pop(asked, None)
        self._bytes -= 0 if entry is None else entry.bytes

    def _size(self, asked: Asked, subset: Subset) -> int:
        label, filter_ = asked
        characters = len(label or "") + (0 if filter_ is None else len(filter_.text))
        own = _ENTRY_BYTES + _CHARACTER_BYTES * characters
        return own + subset.ids.nbytes + self._bytes_beside(subset)


def _updated(session: Session, subset: Subset, changed: Condition, passing: Condition) -> Subset:
    touched = _ids(session, changed)
    if not len(touched):
        return subset
    kept = np.setdiff1d(subset.ids, touched, assume_unique=True)
    return Subset(np.union1d(kept, _ids(session, and_(changed, passing))))


def _ids(session: Session, condition: Condition) -> Ids:
    ids: Ids = bulk.fetch(session, Picture.id, condition)["key"].astype(np.int64)
    return ids
