"""The nearest codes of a table, exactly, without looking at more of them than needed.

The answer is that of a flat scan over all rows, ties broken by id. The rows in no list are always scanned; of those in
lists (`lists.py`) first the ones next to the query, then whichever may hold a nearer code than the worst so far; and
where that would be most of them, all where they lie, which is faster than copying so much.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.search.local.code_table import Columns
from app.search.local.kernels import code_distances, nearest_codes
from app.search.types import Ids

Code = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Lists that hold more than this share of all codes are not copied.
WORTH_COPYING = 0.25
# The lists next to a query are looked at until so many times the rows that are wanted are seen.
_FIRST_LOOK = 4
# Up to one of so many rows that pass a filter, the codes of those rows are copied and scanned alone.
_GATHERED = 8
# Where more than one of so many codes is wanted, all distances are sorted: keeping the nearest takes much memory.
_SORTED = 64


@dataclass(frozen=True)
class Found:
    """Rows `(n,)` and their distances `(n,)`, ascending unless said; `seen` counts all that were looked at."""

    distances: NDArray[np.int32]
    rows: NDArray[np.int64]
    seen: int

    def first(self, most: int) -> "Found":
        """Returns the first of them."""
        return replace(self, distances=self.distances[:most], rows=self.rows[:most])


_NOTHING = Found(np.zeros(0, np.int32), np.zeros(0, np.int64), 0)


def nearest(columns: Columns, query: Code, pool: int | None, radius: int | None, allowed: Mask | None) -> Found:
    """Looks at the rows in no list, at the lists next to the query, and at the lists that may hold a nearer code."""
    wanted = columns.count if pool is None else min(pool, columns.count)
    farthest = 8 * len(query) if radius is None else radius
    if not wanted:
        return _NOTHING
    rest = _scan(columns, query, slice(columns.lists.end, columns.count), wanted, farthest, allowed)
    if not columns.lists.end:
        return rest
    near, few = columns.lists.near(query), columns.count * WORTH_COPYING
    # Where few rows pass, so many more hold enough of them.
    share = 1.0 if allowed is None else max(int(np.count_nonzero(allowed)), 1) / columns.count
    first = near.holding(int(_FIRST_LOOK * wanted / share), farthest)
    if near.count(0, first) < few:
        found = _scan_lists(columns, query, near.runs(0, first), wanted, farthest, allowed, rest)
        if len(found.rows) == wanted:
            # As far as the worst so far, and not less far: a tie is broken by id.
            farthest = int(found.distances[-1])
        last = near.within(farthest)
        if near.count(first, last) < few:
            return _scan_lists(columns, query, near.runs(first, last), wanted, farthest, allowed, found)
    return _merged(columns.ids, [rest, _scan_listed(columns, query, wanted, farthest, allowed)], wanted)


def _scan(columns: Columns, query: Code, run: slice, wanted: int, farthest: int, allowed: Mask | None) -> Found:
    """Finds the nearest of a run of rows whose ids ascend, leaving out those that are not allowed."""
    codes, size = columns.codes[run], run.stop - run.start
    passing = size if allowed is None else int(np.count_nonzero(allowed[run]))
    if allowed is None or passing == size:
        distances, rows = _flat(codes, query, wanted, farthest)
        return Found(distances, rows + run.start, size)
    if passing > size // _GATHERED:
        # Most may pass: some more than are wanted hold enough of them, unless the others are all nearer.
        asked = min(size, wanted * size // passing * 5 // 4 + 64)
        distances, rows = _flat(codes, query, asked, farthest)
        good = allowed[run][rows]
        if len(rows) < asked or np.count_nonzero(good) >= min(wanted, passing):
            return Found(distances[good], rows[good] + run.start, size).first(wanted)
    among = np.flatnonzero(allowed[run])
    distances, rows = _flat(codes.take(among, axis=0), query, wanted, farthest)
    return Found(distances, among[rows] + run.start, size)


def _scan_lists(
    columns: Columns,
    query: Code,
    runs: list[slice],
    wanted: int,
    farthest: int,
    allowed: Mask | None,
    before: Found,
) -> Found:
    """Finds the nearest of what was found before and of some lists, whose codes are copied to be scanned at once."""
    if not runs:
        return before
    rows = np.concatenate([np.arange(run.start, run.stop) for run in runs])
    if allowed is None:
        codes = np.concatenate([columns.codes[run] for run in runs])
    else:
        rows = rows[allowed[rows]]
        codes = columns.codes.take(rows, axis=0)
    return _merged(columns.ids, [before, _measured(query, codes, rows, farthest)], wanted)


def _scan_listed(columns: Columns, query: Code, wanted: int, farthest: int, allowed: Mask | None) -> Found:
    """Finds at least the nearest of all rows in lists."""
    listed = slice(0, columns.lists.end)
    if allowed is not None and np.count_nonzero(allowed[listed]) <= listed.stop // _GATHERED:
        rows = np.flatnonzero(allowed[listed])
        return _measured(query, columns.codes.take(rows, axis=0), rows, farthest)
    return _with_ties(lambda asked: _scan(columns, query, listed, asked, farthest, allowed), wanted)


def _measured(query: Code, codes: Code, rows: NDArray[np.int64], farthest: int) -> Found:
    """Measures some rows, whose codes these are, and keeps those that are near enough; in no order."""
    distances = code_distances(query, codes)
    near = np.flatnonzero(distances <= farthest)
    return Found(distances[near], rows[near], len(rows))


def _with_ties(scan: Callable[[int], Found], wanted: int) -> Found:
    """Asks a scan of rows whose ids do not ascend for the nearest, and for all others that are as far as the last."""
    asked = 2 * wanted
    while True:
        found = scan(asked)
        # Which of those at the largest distance come is chance, unless there is one farther.
        if len(found.rows) < asked or found.distances[-1] > found.distances[wanted - 1]:
            return found
        asked *= 4


def _flat(codes: Code, query: Code, wanted: int, farthest: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Scans codes `(n, width)`: the nearest, none farther than a limit, ties by position."""
    if wanted * _SORTED < len(codes):
        distances, rows = nearest_codes(query, codes, wanted)
        within = int(np.searchsorted(distances, farthest, side="right"))
        return distances[:within], rows[:within]
    distances = code_distances(query, codes)
    rows = np.flatnonzero(distances <= farthest)
    # NumPy sorts 16 bits by radix, which is many times as fast.
    rows = rows[np.argsort(distances[rows].astype(np.uint16), kind="stable")[:wanted]]
    return distances[rows], rows


def _merged(ids: Ids, parts: list[Found], wanted: int) -> Found:
    """Puts what was found together: the nearest by (distance, id). Where codes are alike, thousands may be as near."""
    distances = np.concatenate([part.distances for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    if len(rows) > wanted:
        edge = int(np.searchsorted(np.cumsum(np.bincount(distances)), wanted))
        nearer, at_edge = np.flatnonzero(distances < edge), np.flatnonzero(distances == edge)
        missing = wanted - len(nearer)
        if missing < len(at_edge):
            at_edge = at_edge[np.argpartition(ids[rows[at_edge]], missing)[:missing]]
        kept = np.concatenate([nearer, at_edge])
        distances, rows = distances[kept], rows[kept]
    order = np.lexsort((ids[rows], distances))
    return Found(distances[order], rows[order], sum(part.seen for part in parts))
