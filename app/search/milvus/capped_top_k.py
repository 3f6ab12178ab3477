"""The nearest of an engine that gives at most so many at a time, breaks ties by chance and knows of more than there is.

An engine tells slots and distances. Which of the slots are pictures that are wanted is found out here; what is not
enough is asked for again, more of it, and past the most that the engine gives, from parts of the slots one by one. The
answer is exact: the nearest by (distance, id). Knows nothing of any engine.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.search.types import Ids

Slots = NDArray[np.int64]
Distances = NDArray[np.float64]
# Behind every slot.
END = 2**62
_FURTHER = 4


@dataclass(frozen=True)
class Hits:
    """What an engine found: slots `(n,)` and their distances `(n,)`, ascending."""

    slots: Slots
    distances: Distances


@dataclass(frozen=True)
class Found:
    """Pictures: their ids, slots and distances `(n,)`."""

    ids: Ids
    slots: Slots
    distances: Distances

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Found":
        """Returns some of them."""
        return Found(self.ids[rows], self.slots[rows], self.distances[rows])


@dataclass(frozen=True)
class _Part:
    """What is known of the slots from `start` on and before `stop`: everything that is nearer than `bound`.

    `middle` has slots that were seen on either side.
    """

    start: int
    stop: int
    asked: int
    found: Found
    bound: float
    middle: int


@dataclass(frozen=True)
class Gathering:
    """One question to an engine.

    Attributes:
        engine: returns the nearest so many with slots from one on and before another.
        pictures: returns the ids of the pictures at slots `(n,)`, -1 where there is none or it is not wanted.
        most: the most that the engine gives at a time, at least 2.
    """

    engine: Callable[[int, int, int], Hits]
    pictures: Callable[[Slots], Ids]
    most: int

    def nearest(self, wanted: int | None, farthest: float | None, usual: int) -> Found:
        """Finds the nearest, by (distance, id).

        Args:
            wanted: how many; None for all.
            farthest: the largest distance; None for any.
            usual: how many answers of the engine will probably do.
        """
        limit = np.inf if farthest is None else farthest
        parts = [self._look(0, END, min(max(usual, 1), self.most))]
        while not _enough(parts, wanted, limit):
            part = min(parts, key=lambda part: part.bound)
            parts.remove(part)
            parts += self._finer(part)
        return _merged(parts, limit, wanted)

    def _finer(self, part: _Part) -> list[_Part]:
        """Looks again, for more or, where the engine gives no more, in halves."""
        if part.asked < self.most:
            return [self._look(part.start, part.stop, min(_FURTHER * part.asked, self.most))]
        halves = ((part.start, part.middle), (part.middle, part.stop))
        return [self._look(start, stop, self.most) for start, stop in halves]

    def _look(self, start: int, stop: int, usual: int) -> _Part:
        """Asks for twice as many as will probably do, so that ties at the edge are among them.

        To learn whose the slots are costs as much as the engine's own work. So it is asked only of as many as will
        do, and of all that are as near as the last of them.
        """
        asked = min(2 * usual, self.most)
        hits = self.engine(start, stop, asked)
        slots, distances = hits.slots, hits.distances
        bound = float(distances[-1]) if len(slots) == asked else np.inf
        if usual < len(slots) and distances[usual - 1] < distances[-1]:
            nearer = int(np.searchsorted(distances, distances[usual - 1], side="right"))
            bound = float(distances[nearer])
            slots, distances = slots[:nearer], distances[:nearer]
        ids = self.pictures(slots)
        middle = int(np.sort(slots)[len(slots) // 2]) if len(slots) else start
        return _Part(start, stop, asked, Found(ids, slots, distances).take(ids >= 0), bound, middle)


def _enough(parts: list[_Part], wanted: int | None, limit: float) -> bool:
    bound = min(part.bound for part in parts)
    if bound == np.inf or bound > limit:
        return True
    return wanted is not None and sum(int((part.found.distances < bound).sum()) for part in parts) >= wanted


def _merged(parts: list[_Part], limit: float, wanted: int | None) -> Found:
    ids, slots, distances = (
        np.concatenate([getattr(part.found, name) for part in parts]) for name in ("ids", "slots", "distances")
    )
    order = np.lexsort((ids, distances))
    # A picture that was replaced between two looks may have been found at both of its slots.
    _, firsts = np.unique(ids[order], return_index=True)
    order = order[np.sort(firsts)]
    return Found(ids, slots, distances).take(order[distances[order] <= limit][:wanted])
