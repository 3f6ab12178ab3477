"""Inverted lists (IVF) of similar codes, for exact search that skips most codes.

Codes of a network trained with labels form tight clusters. Rows are grouped in lists around centres; the radius of a
list is the distance of its farthest member from its centre. Hamming distance is a metric, so by the triangle
inequality no member is nearer to a query than the query's distance from the centre minus the radius: a list whose
bound exceeds the worst candidate so far cannot improve the result. Codes far from every centre are in no list and are
always scanned.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.search.local.kernels import code_distances, nearest_centres

Codes = NDArray[np.uint8]
Rows = NDArray[np.int64]

_ROWS_PER_LIST = 512
_MAX_LISTS = 2048
_SAMPLES_PER_LIST = 64
_ITERATIONS = 5
# A list contains this share of the rows nearest to its centre; the farthest ones stay unlisted.
_LISTED_SHARE = 0.98


@dataclass(frozen=True, eq=False)
class InvertedLists:
    """Lists of consecutive rows around centres.

    Attributes:
        centres: `(lists, width)` uint8.
        starts: `(lists + 1,)` int64; list i holds the rows from `starts[i]` to `starts[i + 1]`.
        radii: `(lists,)` int32, largest distance of a member from its centre.
    """

    centres: Codes
    starts: Rows
    radii: NDArray[np.int32]

    @property
    def end(self) -> int:
        """First row that is in no list."""
        return int(self.starts[-1])

    @cached_property
    def sizes(self) -> Rows:
        """Number of rows of each list, `(lists,)`."""
        return np.diff(self.starts)

    def probe_order(self, query: Codes) -> "ProbeOrder":
        """Sort the lists in the order in which to scan them for a query `(width,)`."""
        distances = code_distances(query, self.centres)
        bounds = np.maximum(distances - self.radii, 0)
        # Sort by (bound, distance), combined into one integer.
        order = np.argsort(bounds * np.int32(8 * len(query) + 1) + distances)
        sizes = self.sizes.take(order)
        return ProbeOrder(self.starts.take(order), sizes, sizes.cumsum(), bounds.take(order))

    def widened(self, rows: Rows, codes: Codes) -> "InvertedLists":
        """Return lists with radii that cover new codes `(n, width)` of these rows."""
        listed = rows < self.end
        if not listed.any():
            return self
        members = np.searchsorted(self.starts, rows[listed], side="right") - 1
        radii = self.radii.copy()
        distances = np.bitwise_count(self.centres[members] ^ codes[listed]).sum(axis=1, dtype=np.int32)
        np.maximum.at(radii, members, distances)
        return replace(self, radii=radii)


@dataclass(frozen=True)
class ProbeOrder:
    """Lists sorted by the lower bound of their distance to a query.

    Attributes:
        begins: `(lists,)` int64, first row of each list.
        sizes: `(lists,)` int64, number of its rows.
        totals: `(lists,)` int64, number of rows in this list and those before it in the order.
        bounds: `(lists,)` int32, ascending: no member of a list is nearer than its bound.
    """

    begins: Rows
    sizes: Rows
    totals: Rows
    bounds: NDArray[np.int32]

    def within(self, limit: int) -> int:
        """Number of lists that may contain codes within a distance."""
        return int(self.bounds.searchsorted(np.int32(limit), side="right"))

    def covering(self, rows: int, limit: int) -> int:
        """Number of leading lists that contain at least `rows` rows, among those that may be within a distance."""
        return min(int(self.totals.searchsorted(rows)) + 1, self.within(limit))

    def count(self, last: int) -> int:
        """Number of rows in the first `last` lists."""
        return int(self.totals[last - 1]) if last else 0

    def rows(self, first: int, last: int) -> Rows:
        """Rows of the lists at positions `first` to `last` of the order."""
        before, sizes = self.count(first), self.sizes[first:last]
        # Where each list begins, less the number of rows of the lists before it.
        offsets = self.begins[first:last] - self.totals[first:last] + sizes + before
        return np.arange(self.count(last) - before) + offsets.repeat(sizes)


NO_LISTS = InvertedLists(np.zeros((0, 0), np.uint8), np.zeros(1, np.int64), np.zeros(0, np.int32))


def build_lists(codes: Codes) -> tuple[Rows, InvertedLists]:
    """Cluster codes `(n, width)`, sorted by id, into inverted lists.

    Returns:
        The permutation `(n,)` to apply to the rows, and the lists of the permuted rows.
    """
    centres = _centres(codes)
    distances, nearest = nearest_centres(codes, centres)
    radii = _radii(distances, nearest, len(centres))
    listed = distances <= radii[nearest]
    # Stable, so that ids ascend within each list and among unlisted rows.
    assignment = np.where(listed, nearest, len(centres)).astype(np.uint16)
    order = np.argsort(assignment, kind="stable")
    starts = np.searchsorted(assignment[order], np.arange(len(centres) + 1))
    return order, InvertedLists(centres, starts.astype(np.int64), radii)


def _centres(codes: Codes) -> Codes:
    """Find centres by Lloyd's algorithm in Hamming space: each bit of a centre is the majority of its members' bits."""
    rng = np.random.default_rng(0)
    count = min(max(len(codes) // _ROWS_PER_LIST, 1), _MAX_LISTS)
    sample = codes[rng.choice(len(codes), min(count * _SAMPLES_PER_LIST, len(codes)), replace=False)]
    bits = np.unpackbits(sample, axis=1)
    centres = sample[rng.choice(len(sample), count, replace=False)]
    for _ in range(_ITERATIONS):
        _, nearest = nearest_centres(sample, centres)
        order = np.argsort(nearest, kind="stable")
        present, starts, sizes = np.unique(nearest[order], return_index=True, return_counts=True)
        ones = np.add.reduceat(bits[order], starts, axis=0, dtype=np.int64)
        centres[present] = np.packbits(2 * ones > sizes[:, None], axis=1)
    return centres


def _radii(distances: NDArray[np.int32], nearest: Rows, lists: int) -> NDArray[np.int32]:
    """Radius of each list that includes `_LISTED_SHARE` of the rows nearest to its centre."""
    order = np.lexsort((distances, nearest))
    starts = np.searchsorted(nearest[order], np.arange(lists + 1))
    sizes = np.diff(starts)
    last = starts[:-1] + np.maximum(np.ceil(sizes * _LISTED_SHARE).astype(np.int64) - 1, 0)
    radii = np.zeros(lists, np.int32)
    filled = sizes > 0
    radii[filled] = distances[order[last[filled]]]
    return radii
