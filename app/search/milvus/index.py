"""An index in Milvus: it compares codes and vectors, and the truth says whose they are.

A picture is found at its slot, which is Milvus' primary key: reserved before the picture's commit, filled before it,
and never used twice. So nothing that Milvus holds need be followed. A process holds nothing of the catalogue: any
number of them, wherever they run, find whatever was committed, and start at once. What Milvus has beyond the truth (an
addition that did not get as far as its commit, a picture that was replaced or deleted) is left out when it is found.

F7 stays where it is: the fine step is Milvus' own, over the slots of the pool. Knows nothing of SQL.
"""

import logging
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from app.errors import UnavailableError
from app.search.index import Changes, Checksums, Code, Feature, Kept, Ranked, Slots
from app.search.local.checksums import checksums
from app.search.local.deferred_free import Discarded
from app.search.milvus.capped_top_k import END, Found, Gathering, Hits
from app.search.milvus.collection import MOST, Collection, Field
from app.search.types import Candidates, Encoded, Entries, Ids, Match, Subset
from models.network.codes import hamming

log = logging.getLogger(__name__)

# So few pictures that pass a filter are compared here, by their codes in the truth.
_FEW = 10_000
# What is kept of each beside its code: id, slot and checksum.
_ENTRY_BYTES = 20
# Of so many found for each one wanted, some may be nobody's by now.
_SPARE = 1.1
# A search that is under way may rank what it found before; none takes so long.
_STILL_READ_S = 60.0


class Truth(Protocol):
    """What the catalogue knows of slots."""

    def pictures(self, slots: Slots) -> Ids:
        """Returns the ids of the pictures at slots `(n,)`, -1 where there is none."""
        ...

    def entries(self, ids: Ids) -> Entries:
        """Returns pictures as they are encoded now; those that are gone are left out."""
        ...


class MilvusIndex:
    """Codes and vectors in a collection."""

    def __init__(self, collection: Collection, truth: Truth) -> None:
        self.collection, self.truth = collection, truth
        self._count, self._newest, self._followed, self._moment = 0, 0, 0, 0
        self._few: WeakKeyDictionary[Subset, tuple[int, Entries]] = WeakKeyDictionary()
        self._left = Discarded(_STILL_READ_S)

    def __len__(self) -> int:
        return self._count

    @property
    def bytes_in_use(self) -> int:
        """Bytes that the codes take in Milvus, at least; nothing of them is in this process."""
        return self._count * self.collection.code_bytes

    @property
    def bytes_kept(self) -> int:
        """Bytes that F7 takes in Milvus, at least."""
        return self._count * self.collection.vector_bytes

    def bytes_beside(self, among: Subset) -> int:
        """Returns the size of the codes that are kept of a small subset."""
        few = len(among.ids) if len(among.ids) <= _FEW else 0
        return few * (_ENTRY_BYTES + self.collection.code_bytes)

    def close(self) -> None:
        """Closes the connection."""
        self.collection.close()

    def require(self) -> None:
        """Makes sure that Milvus answers and has the collection.

        Raises:
            UnavailableError: it does not.
        """
        if not self.collection.exists():
            raise self.collection.lost()

    def keep(self, slots: Slots, encoded: Encoded) -> Kept:
        """Inserts encodings at their slots; a search that asks for the moment that this returns finds them."""
        moment = self.collection.insert(slots, encoded)
        return Kept(checksums(self.collection.stored(encoded.features)), moment)

    def discard(self, slots: Slots) -> None:
        """Deletes what is at these slots once no search can be about to rank it, at a later call or by a sync."""
        self._left.add(slots)
        if old := self._left.due().tolist():
            try:
                self.collection.delete(old)
            except UnavailableError as error:
                log.warning("slots %s are left in Milvus, unused: %s", old, error)

    def follow(self, changes: Changes) -> None:
        """Counts the pictures; all else that has changed is in Milvus already, from a moment on."""
        self._moment = max(self._moment, changes.moment)
        more, self._newest = changes.grown(self._newest)
        self._count += more
        self._followed += 1

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: the nearest `pool` codes within `radius`, by (Hamming distance, id), among some ids or all."""
        if among is not None and len(among.ids) <= _FEW:
            return _nearest(self._entries(among), code, pool, radius)
        asking = Gathering(self._engine("code", code), self._wanted(among), MOST)
        return _candidates(asking.nearest(pool, radius, self._usual(pool, among)))

    def rank(self, feature: Feature, code: Code, candidates: Candidates, k: int) -> list[Match]:  # noqa: ARG002 - known
        """Fine: the k nearest candidates by exact L2 on F7, in Milvus, ties by id; they know their codes' part."""
        by_slot = np.argsort(candidates.slots)
        parts = [self._rank_some(feature, candidates.take(by_slot[some]), k) for some in _chunks(len(candidates))]
        return _matches(parts, candidates.take(np.argsort(candidates.ids)), k)

    def rank_all(self, feature: Feature, code: Code, k: int, among: Subset | None) -> Ranked:
        """Finds the k nearest of all pictures, or of some, by exact L2 on F7."""
        if among is not None and len(among.ids) <= _FEW:
            some = _nearest(self._entries(among), code, None, None)
            return Ranked(self.rank(feature, code, some, k), len(some))
        asking = Gathering(self._engine("f7", feature), self._wanted(among), MOST)
        found = asking.nearest(k, None, self._usual(k, among))
        known = _nearest(self.truth.entries(np.sort(found.ids)), code, None, None)
        looked_at = len(self) if among is None else len(among.ids)
        return Ranked(_matches([found], known.take(np.argsort(known.ids)), k), looked_at)

    def find(self, picture_id: int) -> tuple[Code, Feature] | None:
        """Returns a picture's code and F7; None where there is none or its vector is damaged."""
        entries = self.truth.entries(np.array([picture_id], np.int64))
        there, features = self.collection.vectors(entries.slots, self._moment)
        if not len(there) or checksums(features)[0] != entries.checksums[0]:
            return None
        return entries.codes[0].copy(), features[0].astype(np.float32)

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Returns the codes of pictures, `(n, bits / 8)`; zeros for those that are gone."""
        entries = self.truth.entries(np.unique(ids))
        rows, known = _places(entries.ids, ids)
        codes = np.zeros((len(ids), entries.codes.shape[1]), np.uint8)
        codes[known] = entries.codes[rows[known]]
        return codes

    def intact(self, slots: Slots, expected: Checksums) -> NDArray[np.bool_]:
        """Tells for each slot whether its vector is what was inserted."""
        there, features = self.collection.vectors(slots)
        order = np.argsort(there)
        rows, good = _places(there[order], slots)
        good[good] = checksums(features[order])[rows[good]] == expected[good]
        return good

    def _engine(self, field: Field, query: Code | Feature) -> Callable[[int, int, int], Hits]:
        def nearest(start: int, stop: int, limit: int) -> Hits:
            where = f"slot >= {start} and slot < {stop}" if (start, stop) != (0, END) else ""
            return self.collection.nearest(field, query, limit, where, self._moment)

        return nearest

    def _wanted(self, among: Subset | None) -> Callable[[Slots], Ids]:
        def pictures(slots: Slots) -> Ids:
            ids = self.truth.pictures(slots)
            return ids if among is None else np.where(_places(among.ids, ids)[1], ids, -1)

        return pictures

    def _usual(self, wanted: int | None, among: Subset | None) -> int:
        """Returns how many of all pictures hold so many that pass, if those that pass are spread evenly."""
        if wanted is None:
            return MOST
        passing = 1.0 if among is None else len(among.ids) / max(len(self), len(among.ids))
        return int(_SPARE * wanted / passing) + 8

    def _entries(self, among: Subset) -> Entries:
        """Returns the few that pass; asks for them once, while nothing changes."""
        followed = self._followed
        known, entries = self._few.get(among, (None, None))
        if entries is None or known != followed:
            entries = self.truth.entries(among.ids)
            self._few[among] = followed, entries
        return entries

    def _rank_some(self, feature: Feature, some: Candidates, k: int) -> Found:
        """Ranks candidates, in the order of their slots, fewer than Milvus gives at a time."""
        where = f"slot in {some.slots.tolist()}"

        def engine(_start: int, _stop: int, limit: int) -> Hits:
            return self.collection.nearest("f7", feature, limit, where, self._moment)

        def pictures(slots: Slots) -> Ids:
            return some.ids[np.searchsorted(some.slots, slots)]

        return Gathering(engine, pictures, MOST).nearest(k, None, k)


def _chunks(count: int) -> list[slice]:
    """Splits so many rows into parts, each fewer than Milvus gives at a time: so no part is ever split again."""
    return [slice(first, first + MOST - 1) for first in range(0, count, MOST - 1)]


def _nearest(entries: Entries, code: Code, pool: int | None, radius: int | None) -> Candidates:
    """Returns pictures as candidates, by (Hamming distance, id)."""
    distances = hamming(code, entries.codes)
    order = np.lexsort((entries.ids, distances))
    if radius is not None:
        order = order[distances[order] <= radius]
    order = order[:pool]
    return Candidates(entries.ids[order], distances[order], entries.slots[order], entries.checksums[order])


def _candidates(found: Found) -> Candidates:
    """Returns what was found by codes; Milvus looks after its vectors itself, so checksums are left at zero."""
    return Candidates(found.ids, found.distances.astype(np.int32), found.slots, np.zeros(len(found.ids), np.uint32))


def _matches(parts: list[Found], known: Candidates, k: int) -> list[Match]:
    """Merges what was found by F7; `known` has all of it, in the order of ids. Milvus gives L2 squared."""
    ids = np.concatenate([np.zeros(0, np.int64), *(part.ids for part in parts)])
    squared = np.concatenate([np.zeros(0), *(part.distances for part in parts)])
    rows, still = _places(known.ids, ids)
    order = np.lexsort((ids, squared))
    order = order[still[order]][:k]
    values = np.sqrt(np.maximum(squared[order], 0))
    rank = zip(ids[order].tolist(), values.tolist(), known.hamming[rows[order]].tolist(), strict=True)
    return [Match(*row) for row in rank]


def _places(ordered: NDArray[np.int64], asked: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns where these numbers stand among others that ascend `(n,)`, and which of them are there at all `(n,)`."""
    if not len(ordered):
        return np.zeros(len(asked), np.int64), np.zeros(len(asked), np.bool_)
    rows = np.minimum(np.searchsorted(ordered, asked), len(ordered) - 1)
    return rows, ordered[rows] == asked
