"""Exact nearest-code search over inverted lists (IVF).

The result equals that of a flat scan over all rows, ties broken by id. Unlisted rows are always scanned. Of the lists
(`inverted_lists.py`), those nearest to the query are scanned first, then all that may contain a code nearer than the
worst result so far. If these hold too many rows, all listed rows are scanned in place, which is faster than copying.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.search.local.code_table import Snapshot
from app.search.local.kernels import code_distances, nearest_codes
from app.search.types import Ids

Code = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Lists are copied and scanned only if they hold less than this share of all codes.
MAX_COPIED_SHARE = 0.25
# The first lists scanned contain at least this many times the requested rows.
_FIRST_PROBE_FACTOR = 4
# If at most one row in this many passes a filter, the codes of passing rows are copied and scanned alone.
_GATHER_RATIO = 8
# FAISS's top-k is used for tables of at least `_MIN_CODES_FOR_TOP_K` codes, which it scans on all cores, and for at
# most one code in `_TOP_K_RATIO`, because its memory grows with k. Otherwise selecting from all distances is faster.
_MIN_CODES_FOR_TOP_K, _TOP_K_RATIO = 200_000, 64
# Of more rows than this multiple of the wanted number, the first of those at the worst distance are selected by id
# before they are sorted.
_MAX_SORTED_RATIO = 2
# One distance in this many is read to estimate how far the nearest codes extend.
_SAMPLE_STEP = 16


@dataclass(frozen=True)
class ScanResult:
    """Rows `(n,)` with distances `(n,)`, ascending unless documented otherwise; `scanned` counts all rows compared."""

    distances: NDArray[np.int32]
    rows: NDArray[np.int64]
    scanned: int

    def first(self, count: int) -> "ScanResult":
        """Return the first `count` rows."""
        return replace(self, distances=self.distances[:count], rows=self.rows[:count])


_EMPTY = ScanResult(np.zeros(0, np.int32), np.zeros(0, np.int64), 0)


def nearest(snapshot: Snapshot, query: Code, pool: int | None, radius: int | None, allowed: Mask | None) -> ScanResult:
    """Find the nearest rows by (distance, id): at most `pool`, within `radius`, among the allowed rows.

    Args:
        snapshot: table to search.
        query: padded code `(width,)`.
        pool: maximum number of rows; None for all.
        radius: maximum Hamming distance; None for no limit.
        allowed: `(count,)` bool, rows that may be returned; None for all.
    """
    wanted = snapshot.count if pool is None else min(pool, snapshot.count)
    farthest = 8 * len(query) if radius is None else radius
    if not wanted:
        return _EMPTY
    unlisted = slice(snapshot.lists.end, snapshot.count)
    if not snapshot.lists.end:
        return _scan(snapshot, query, unlisted, wanted, farthest, allowed)
    probes, max_copied = snapshot.lists.probe_order(query), snapshot.count * MAX_COPIED_SHARE
    # The fewer rows pass the filter, the more lists are needed.
    share = 1.0 if allowed is None else max(int(np.count_nonzero(allowed)), 1) / snapshot.count
    first = probes.covering(int(_FIRST_PROBE_FACTOR * wanted / share), farthest)
    if probes.count(first) + unlisted.stop - unlisted.start < max_copied:
        rows = np.concatenate([np.arange(unlisted.start, unlisted.stop), probes.rows(0, first)])
        found = _gather(snapshot, query, rows, farthest, allowed)
        if len(found.rows) >= wanted:
            # Including the distance of the worst result, because ties are broken by id.
            farthest = _kth(found.distances, wanted)
        last = max(probes.within(farthest), first)
        if last == first:
            return _sorted(snapshot.ids, found, wanted)
        if probes.count(last) - probes.count(first) < max_copied:
            more = _gather(snapshot, query, probes.rows(first, last), farthest, allowed)
            return _merged(snapshot.ids, [found, more], wanted)
    rest = _scan(snapshot, query, unlisted, wanted, farthest, allowed)
    return _merged(snapshot.ids, [rest, _scan_all_listed(snapshot, query, wanted, farthest, allowed)], wanted)


def _scan(snapshot: Snapshot, query: Code, run: slice, wanted: int, farthest: int, allowed: Mask | None) -> ScanResult:
    """Find the nearest allowed rows in a run of rows sorted by id."""
    codes, size = snapshot.codes[run], run.stop - run.start
    passing = size if allowed is None else int(np.count_nonzero(allowed[run]))
    if allowed is None or passing == size:
        distances, rows = _flat(codes, query, wanted, farthest)
        return ScanResult(distances, rows + run.start, size)
    if passing > size // _GATHER_RATIO:
        # Many rows pass: request proportionally more and filter. Not enough if the rejected rows are all nearer.
        limit = min(size, wanted * size // passing * 5 // 4 + 64)
        distances, rows = _flat(codes, query, limit, farthest)
        passed = allowed[run][rows]
        if len(rows) < limit or np.count_nonzero(passed) >= min(wanted, passing):
            return ScanResult(distances[passed], rows[passed] + run.start, size).first(wanted)
    among = np.flatnonzero(allowed[run])
    distances, rows = _flat(codes.take(among, axis=0), query, wanted, farthest)
    return ScanResult(distances, among[rows] + run.start, size)


def _gather(
    snapshot: Snapshot, query: Code, rows: NDArray[np.int64], farthest: int, allowed: Mask | None
) -> ScanResult:
    """Copy the codes of rows and scan them; in no particular order."""
    if allowed is not None:
        rows = rows[allowed.take(rows)]
    return _within(query, snapshot.codes.take(rows, axis=0), rows, farthest)


def _scan_all_listed(snapshot: Snapshot, query: Code, wanted: int, farthest: int, allowed: Mask | None) -> ScanResult:
    """Find the nearest of all listed rows, possibly with more; in no particular order."""
    listed = slice(0, snapshot.lists.end)
    if allowed is not None and np.count_nonzero(allowed[listed]) <= listed.stop // _GATHER_RATIO:
        return _gather(snapshot, query, np.arange(listed.stop), farthest, allowed)
    return _with_ties(lambda limit: _scan(snapshot, query, listed, limit, farthest, allowed), wanted)


def _within(query: Code, codes: Code, rows: NDArray[np.int64], farthest: int) -> ScanResult:
    """Rows within a distance, given their codes; in no particular order."""
    distances = code_distances(query, codes)
    if farthest >= 8 * len(query):
        return ScanResult(distances, rows, len(rows))
    near = np.flatnonzero(distances <= farthest)
    return ScanResult(distances[near], rows[near], len(rows))


def _with_ties(scan: Callable[[int], ScanResult], wanted: int) -> ScanResult:
    """Scan rows not sorted by id for the nearest, including all rows tied with the last of them."""
    limit = 2 * wanted
    while True:
        found = scan(limit)
        # Rows at the largest distance returned may be incomplete.
        if len(found.rows) < limit or found.distances[-1] > found.distances[wanted - 1]:
            return found
        limit *= 4


def _flat(codes: Code, query: Code, wanted: int, farthest: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Scan codes `(n, width)` for the nearest within a distance, ties by position."""
    if len(codes) >= _MIN_CODES_FOR_TOP_K and wanted * _TOP_K_RATIO < len(codes):
        distances, rows = nearest_codes(query, codes, wanted)
        within = int(np.searchsorted(distances, farthest, side="right"))
        return distances[:within], rows[:within]
    distances = code_distances(query, codes)
    bound = min(_likely_bound(distances, wanted), farthest)
    rows = np.flatnonzero(distances <= bound)
    if len(rows) < wanted and bound < farthest:
        rows = np.flatnonzero(distances <= farthest)
    # NumPy uses radix sort for 16-bit integers, which is many times as fast.
    rows = rows[np.argsort(distances[rows].astype(np.uint16), kind="stable")[:wanted]]
    return distances[rows], rows


def _likely_bound(distances: NDArray[np.int32], wanted: int) -> int:
    """Return a distance within which there probably are the wanted number of rows and few more, from a sample.

    A sample is many times as fast as a selection from all distances, and leaves few rows to sort.
    """
    sample, expected = distances[::_SAMPLE_STEP], wanted / _SAMPLE_STEP
    # Four standard deviations more than expected, so that it is rarely too small.
    position = int(expected + 4 * np.sqrt(expected)) + 1
    return int(np.partition(sample, position)[position]) if position < len(sample) else np.iinfo(np.int32).max


def _merged(ids: Ids, parts: list[ScanResult], wanted: int) -> ScanResult:
    """Merge results into the nearest by (distance, id)."""
    distances = np.concatenate([part.distances for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    return _sorted(ids, ScanResult(distances, rows, sum(part.scanned for part in parts)), wanted)


def _sorted(ids: Ids, found: ScanResult, wanted: int) -> ScanResult:
    """Return the nearest rows by (distance, id). Thousands may tie, so ties that are not among them are not sorted."""
    distances, rows = found.distances, found.rows
    if len(rows) > wanted:
        worst = _kth(distances, wanted)
        near = (distances <= worst).nonzero()[0]
        distances, rows = distances.take(near), rows.take(near)
        if len(rows) > _MAX_SORTED_RATIO * wanted:
            nearer, tied = (distances < worst).nonzero()[0], (distances == worst).nonzero()[0]
            missing = wanted - len(nearer)
            selected = np.concatenate([nearer, tied[ids.take(rows.take(tied)).argpartition(missing - 1)[:missing]]])
            distances, rows = distances.take(selected), rows.take(selected)
    # Faster than `lexsort`: the second sort is stable, and a radix sort.
    by_id = ids.take(rows).argsort()
    order = by_id.take(distances.take(by_id).astype(np.uint16).argsort(kind="stable")[:wanted])
    return ScanResult(distances.take(order), rows.take(order), found.scanned)


def _kth(distances: NDArray[np.int32], k: int) -> int:
    """Return the k-th smallest distance."""
    return int(np.partition(distances, k - 1)[k - 1])
