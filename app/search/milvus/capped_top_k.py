"""Exact top-k over an engine with a result cap, unstable ties and stale entries.

The engine returns slots and distances. Slots that do not belong to a wanted image are dropped. If too few remain, the
query is repeated with a larger limit, and beyond the engine's cap, separately for ranges of slots. The result is exact:
the nearest by (distance, id).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.search.types import Ids

Slots = NDArray[np.int64]
Distances = NDArray[np.float64]
# Above every slot.
END = 2**62
# Factor by which the limit grows when a query is repeated.
_LIMIT_FACTOR = 4


@dataclass(frozen=True)
class Hits:
    """Result of an engine: slots `(n,)` and distances `(n,)`, ascending."""

    slots: Slots
    distances: Distances


@dataclass(frozen=True)
class ImageHits:
    """Hits that belong to images: ids, slots and distances `(n,)`."""

    ids: Ids
    slots: Slots
    distances: Distances

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "ImageHits":
        """Select hits by position or mask."""
        return ImageHits(self.ids[rows], self.slots[rows], self.distances[rows])


@dataclass(frozen=True)
class _Part:
    """Hits among the slots in `[start, stop)`, complete for distances below `bound`.

    Attributes:
        start: first slot.
        stop: end of the slots, exclusive.
        limit: limit of the engine query.
        found: hits of wanted images.
        bound: distance from which on hits may be missing; infinity if all were found.
        middle: slot at which to split the range, the median of the slots returned.
    """

    start: int
    stop: int
    limit: int
    found: ImageHits
    bound: float
    middle: int


@dataclass(frozen=True)
class CappedTopK:
    """A query to an engine with a result cap.

    Attributes:
        engine: called with `start, stop, limit`; returns the `limit` nearest slots in `[start, stop)`.
        image_ids: returns the image ids of slots `(n,)`; -1 for slots without an image, or with an unwanted one.
        cap: maximum limit of the engine, at least 2.
    """

    engine: Callable[[int, int, int], Hits]
    image_ids: Callable[[Slots], Ids]
    cap: int

    def nearest(self, k: int | None, max_distance: float | None, expected: int) -> ImageHits:
        """Find the k nearest images by (distance, id).

        Args:
            k: number of images; None for all.
            max_distance: maximum distance; None for no limit.
            expected: number of hits that probably include k wanted images.
        """
        max_distance = np.inf if max_distance is None else max_distance
        parts = [self._query(0, END, min(max(expected, 1), self.cap))]
        while not _is_complete(parts, k, max_distance):
            part = min(parts, key=lambda part: part.bound)
            parts.remove(part)
            parts += self._refine(part)
        return _merged(parts, max_distance, k)

    def _refine(self, part: _Part) -> list[_Part]:
        """Query a part again with a larger limit or, at the engine's cap, in halves."""
        if part.limit < self.cap:
            return [self._query(part.start, part.stop, min(_LIMIT_FACTOR * part.limit, self.cap))]
        halves = ((part.start, part.middle), (part.middle, part.stop))
        return [self._query(start, stop, self.cap) for start, stop in halves]

    def _query(self, start: int, stop: int, expected: int) -> _Part:
        """Query the engine for twice the expected number of hits, to include ties at the edge.

        Looking up image ids costs as much as the engine query. Therefore only the expected number of hits is looked
        up, and those tied with the last of them.
        """
        limit = min(2 * expected, self.cap)
        hits = self.engine(start, stop, limit)
        slots, distances = hits.slots, hits.distances
        bound = float(distances[-1]) if len(slots) == limit else np.inf
        if expected < len(slots) and distances[expected - 1] < distances[-1]:
            count = int(np.searchsorted(distances, distances[expected - 1], side="right"))
            bound = float(distances[count])
            slots, distances = slots[:count], distances[:count]
        ids = self.image_ids(slots)
        middle = int(np.sort(slots)[len(slots) // 2]) if len(slots) else start
        return _Part(start, stop, limit, ImageHits(ids, slots, distances).take(ids >= 0), bound, middle)


def _is_complete(parts: list[_Part], k: int | None, max_distance: float) -> bool:
    bound = min(part.bound for part in parts)
    if bound == np.inf or bound > max_distance:
        return True
    return k is not None and sum(int((part.found.distances < bound).sum()) for part in parts) >= k


def _merged(parts: list[_Part], max_distance: float, k: int | None) -> ImageHits:
    ids, slots, distances = (
        np.concatenate([getattr(part.found, name) for part in parts]) for name in ("ids", "slots", "distances")
    )
    order = np.lexsort((ids, distances))
    # An image replaced between two queries may have been found at both of its slots.
    _, firsts = np.unique(ids[order], return_index=True)
    order = order[np.sort(firsts)]
    return ImageHits(ids, slots, distances).take(order[distances[order] <= max_distance][:k])
