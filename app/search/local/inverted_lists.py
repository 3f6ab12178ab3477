"""Which codes are alike, so that a search may leave most of them out and still be exact.

Codes that a network learnt from labels lie in tight groups. Rows are kept in lists around centres; a list knows the
distance of its farthest member from its centre, its `reach`. Hamming distance is a metric, so no member is nearer to
a query than the query's distance from the centre less the reach: a list whose bound is above the worst candidate so
far cannot hold a better one. Codes far from every centre stay outside the lists and are always looked at.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.search.local.kernels import code_distances, nearest_centres

Codes = NDArray[np.uint8]
Rows = NDArray[np.int64]

_ROWS_A_LIST = 512
_MOST_LISTS = 2048
_SAMPLE_A_LIST = 64
_ROUNDS = 5
# A list reaches as far as this share of those nearest to its centre; the others stay outside.
_INSIDE = 0.98


@dataclass(frozen=True, eq=False)
class Lists:
    """Centres, and which rows lie around each.

    Attributes:
        centres: `(lists, width)` uint8.
        starts: `(lists + 1,)` int64; list i holds the rows from `starts[i]` to `starts[i + 1]`.
        reach: `(lists,)` int32, the largest distance of a member from its centre.
    """

    centres: Codes
    starts: Rows
    reach: NDArray[np.int32]

    @property
    def end(self) -> int:
        """The first row that is in no list."""
        return int(self.starts[-1])

    def near(self, query: Codes) -> "Near":
        """Puts the lists in the order in which a query `(width,)` should look at them."""
        distances = code_distances(query, self.centres)
        bounds = np.maximum(distances - self.reach, 0)
        # By bound, then by distance, as one number.
        order = np.argsort(bounds.astype(np.int64) * (8 * len(query) + 1) + distances)
        return Near(self.starts, order, bounds[order])

    def reaching(self, rows: Rows, codes: Codes) -> "Lists":
        """Returns lists that reach codes `(n, width)` which now stand in these rows."""
        inside = rows < self.end
        if not inside.any():
            return self
        members = np.searchsorted(self.starts, rows[inside], side="right") - 1
        reach = self.reach.copy()
        away = np.bitwise_count(self.centres[members] ^ codes[inside]).sum(axis=1, dtype=np.int32)
        np.maximum.at(reach, members, away)
        return replace(self, reach=reach)


@dataclass(frozen=True)
class Near:
    """Lists as one query sees them, those that may hold the nearest codes first.

    Attributes:
        starts: of the lists.
        order: `(lists,)` numbers of lists.
        bounds: `(lists,)` int32, ascending: no member of list `order[i]` is nearer than `bounds[i]`.
    """

    starts: Rows
    order: Rows
    bounds: NDArray[np.int32]

    def within(self, limit: int) -> int:
        """Counts the lists that may hold codes within a distance."""
        return int(np.searchsorted(self.bounds, limit, side="right"))

    def holding(self, rows: int, limit: int) -> int:
        """Counts the first lists that hold so many rows together, of those that may hold codes within a distance."""
        lists = self.order[: self.within(limit)]
        total = np.cumsum(self.starts[lists + 1] - self.starts[lists])
        return min(int(np.searchsorted(total, rows)) + 1, len(lists))

    def count(self, first: int, last: int) -> int:
        """Counts the rows of the lists from one place in the order to another."""
        lists = self.order[first:last]
        return int((self.starts[lists + 1] - self.starts[lists]).sum())

    def runs(self, first: int, last: int) -> list[slice]:
        """Returns the rows of the lists from one place in the order to another."""
        lists = self.order[first:last]
        return [slice(*ends) for ends in zip(self.starts[lists].tolist(), self.starts[lists + 1].tolist(), strict=True)]


NO_LISTS = Lists(np.zeros((0, 0), np.uint8), np.zeros(1, np.int64), np.zeros(0, np.int32))


def arrange(codes: Codes) -> tuple[Rows, Lists]:
    """Finds lists for codes `(n, width)` whose ids ascend.

    Returns:
        The order `(n,)` in which the rows are to stand, and the lists once they do.
    """
    centres = _centres(codes)
    distances, nearest = nearest_centres(codes, centres)
    reach = _reach(distances, nearest, len(centres))
    inside = distances <= reach[nearest]
    # Stable, so that ids still ascend within a list and among the rest.
    place = np.where(inside, nearest, len(centres)).astype(np.uint16)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(centres) + 1))
    return order, Lists(centres, starts.astype(np.int64), reach)


def _centres(codes: Codes) -> Codes:
    """Lloyd's algorithm in Hamming space: a centre's bits are those of most of its members."""
    rng = np.random.default_rng(0)
    count = min(max(len(codes) // _ROWS_A_LIST, 1), _MOST_LISTS)
    sample = codes[rng.choice(len(codes), min(count * _SAMPLE_A_LIST, len(codes)), replace=False)]
    bits = np.unpackbits(sample, axis=1)
    centres = sample[rng.choice(len(sample), count, replace=False)]
    for _ in range(_ROUNDS):
        _, nearest = nearest_centres(sample, centres)
        order = np.argsort(nearest, kind="stable")
        present, starts, sizes = np.unique(nearest[order], return_index=True, return_counts=True)
        ones = np.add.reduceat(bits[order], starts, axis=0, dtype=np.int64)
        centres[present] = np.packbits(2 * ones > sizes[:, None], axis=1)
    return centres


def _reach(distances: NDArray[np.int32], nearest: Rows, lists: int) -> NDArray[np.int32]:
    """Returns for each list the distance within which the given share of its nearest rows lie."""
    order = np.lexsort((distances, nearest))
    starts = np.searchsorted(nearest[order], np.arange(lists + 1))
    sizes = np.diff(starts)
    at = starts[:-1] + np.maximum(np.ceil(sizes * _INSIDE).astype(np.int64) - 1, 0)
    reach = np.zeros(lists, np.int32)
    filled = sizes > 0
    reach[filled] = distances[order[at[filled]]]
    return reach
