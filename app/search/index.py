"""An index: codes and vectors of one generation, and the two questions that a search asks of them.

`Index` is the seam: whatever fulfils it can hold a catalogue's codes and vectors. `LocalIndex` keeps the codes in
this process's memory and reads the vectors from a mapped file.
"""

import logging
import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.search.coarse import CodeTable
from app.search.fine import Distances, distances, smallest
from app.search.types import Candidates, Entries, Ids, Match, Subset

log = logging.getLogger(__name__)

Code = NDArray[np.uint8]
Feature = NDArray[np.float32]
Rows = NDArray[np.int64]


class Index(Protocol):
    """Holds encoded pictures and finds those like a query."""

    def __len__(self) -> int:
        """Returns how many pictures there are."""
        ...

    def add(self, entries: Entries) -> None:
        """Adds pictures, or replaces those whose ids are there."""
        ...

    def remove(self, ids: Ids) -> None:
        """Takes pictures out; unknown ids do no harm."""
        ...

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: the nearest `pool` codes within `radius`, by (Hamming distance, id), among some ids or all."""
        ...

    def rank(self, feature: Feature, code: Code, candidates: Candidates, k: int) -> list[Match]:
        """Fine: the k nearest candidates by exact L2 on F7, ties by id."""
        ...

    def everything(self, among: Subset | None) -> Candidates:
        """Returns all pictures as candidates, among some ids or all."""
        ...

    def find(self, picture_id: int) -> tuple[Code, Feature] | None:
        """Returns a picture's code `(bits / 8,)` and F7 `(d,)`, or None."""
        ...

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Returns the codes of pictures, `(n, bits / 8)`; zeros for those that are gone."""
        ...


class Vectors(Protocol):
    """Where F7 lies."""

    def rows(self, slots: NDArray[np.int64]) -> NDArray[np.float32] | NDArray[np.float16]:
        """Returns a matrix `(rows, d)` that holds all of these slots."""
        ...

    def intact(self, slots: NDArray[np.int64], checksums: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Tells for each slot whether its vector is what was written."""
        ...


class LocalIndex:
    """Codes in memory, vectors in a mapped file."""

    def __init__(self, bits: int, vectors: Vectors) -> None:
        self._codes = CodeTable(bits)
        self._vectors = vectors
        self._ordering: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def bytes_in_use(self) -> int:
        """Bytes of memory that the codes take."""
        return self._codes.bytes_in_use

    def add(self, entries: Entries) -> None:
        """Adds pictures, or replaces those whose ids are there."""
        self._codes.add(entries)
        if self._codes.wants_order and not (self._ordering and self._ordering.is_alive()):
            # Seconds for a million pictures, in which searches go on.
            self._ordering = threading.Thread(target=self._codes.put_in_order, name="ordering", daemon=True)
            self._ordering.start()

    def settle(self) -> None:
        """Waits until the codes are in order, where order is worth its while."""
        if self._ordering is not None:
            self._ordering.join()
        if self._codes.wants_order:
            self._codes.put_in_order()

    def remove(self, ids: Ids) -> None:
        """Takes pictures out; unknown ids do no harm."""
        self._codes.remove(ids)

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: see `CodeTable.nearest`."""
        return self._codes.nearest(code, pool, radius, among)

    def everything(self, among: Subset | None) -> Candidates:
        """Returns all pictures as candidates, among some ids or all."""
        return self._codes.everything(among)

    def rank(self, feature: Feature, code: Code, candidates: Candidates, k: int) -> list[Match]:
        """Fine: exact L2 over the candidates; a vector that is not what was written is never among the matches.

        Damage shows when all of a vector's bytes are read once more. So only the matches are looked at; where one is
        damaged, all candidates are, and those that are left are ranked again.
        """
        order, values = self._order(feature, candidates, k)
        if not self._vectors.intact(candidates.slots[order], candidates.checksums[order]).all():
            candidates = self._intact(candidates)
            order, values = self._order(feature, candidates, k)
        ids = candidates.ids[order]
        hamming = self._codes.hamming(code, ids)
        return [Match(*row) for row in zip(ids.tolist(), values.tolist(), hamming.tolist(), strict=True)]

    def find(self, picture_id: int) -> tuple[Code, Feature] | None:
        """Returns a picture's code and F7, or None where there is none or its vector is damaged."""
        found = self._codes.find(picture_id)
        if found is None or not len(self._intact(found[1])):
            return None
        slots = found[1].slots
        return found[0], self._vectors.rows(slots)[slots[0]].astype(np.float32)

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Returns the codes of pictures, `(n, bits / 8)`; zeros for those that are gone."""
        return self._codes.codes(ids)

    def _order(self, feature: Feature, candidates: Candidates, k: int) -> tuple[Rows, Distances]:
        """Returns which candidates are nearest, and their distances; those behind the end of the file come last."""
        vectors = self._vectors.rows(candidates.slots)
        there = np.flatnonzero(candidates.slots < len(vectors))
        values = np.full(len(candidates), np.inf, np.float32)
        values[there] = distances(feature, vectors, candidates.slots[there])
        order = smallest(values, candidates.ids, k)
        return order, values[order]

    def _intact(self, candidates: Candidates) -> Candidates:
        intact = self._vectors.intact(candidates.slots, candidates.checksums)
        if intact.all():
            return candidates
        log.error("vectors damaged on disk, left out: pictures %s", candidates.ids[~intact].tolist())
        return candidates.take(np.flatnonzero(intact))
