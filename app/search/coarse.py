"""The coarse step: candidates by Hamming distance between codes (Lin et al. 2015, section 3.3).

All codes are in memory. The answer is that of a flat scan over all of them, ties broken by id, so that the same
catalogue always gives the same pool; lists of codes that are alike only tell what need not be looked at. Deleted
pictures are only marked. Knows nothing of vectors, SQL or HTTP.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from app.search.columns import Columns, copied, empty
from app.search.kernels import code_distances, nearest_codes
from app.search.lists import arrange
from app.search.types import Candidates, Entries, Ids, Subset

Code = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# FAISS has fast kernels for codes of 8, 16, 32 and 64 bytes; zero bytes at the end change no distance.
_WORD = 8
# Marked pictures are thrown out once they are more than a tenth and more than this.
_FEW = 1000
# Fewer codes than this are read faster than chosen from.
_MANY = 50_000
# Lists are kept if searches for so many look at less than this share of all codes; one that would look at more scans
# everything where it lies, which is faster than copying so much.
_USUAL_POOL, _WORTH_KEEPING, _TRIALS = 1000, 0.25, 32
# Past this share of codes outside the lists, which every search looks at, the table is put in order again.
_OUTSIDE = 0.1
# The lists next to a query are looked at until so many times the rows that are wanted are seen.
_FIRST_LOOK = 4
# Up to one of so many rows that pass a filter, the codes of those rows are copied and scanned alone.
_GATHERED = 8
# Where more than one of so many codes is wanted, all distances are sorted: keeping the nearest takes much memory.
_SORTED = 64


class CodeTable:
    """All codes of one generation. Many threads may search while one changes it."""

    def __init__(self, bits: int) -> None:
        self._bytes = bits // 8
        self._width = -(-self._bytes // _WORD) * _WORD
        self._columns = empty(self._width)
        self._changing = threading.Lock()
        self._masks: WeakKeyDictionary[Subset, tuple[Columns, Mask]] = WeakKeyDictionary()
        self._flat_until = _MANY

    def __len__(self) -> int:
        columns = self._columns
        return columns.count - columns.dead

    @property
    def bytes_in_use(self) -> int:
        """Bytes of memory that the arrays take."""
        return self._columns.nbytes

    @property
    def wants_order(self) -> bool:
        """Tells whether `put_in_order` may be worth its while: there are many codes, too many of them in no list."""
        columns = self._columns
        return columns.count >= self._flat_until and columns.count - columns.lists.end > columns.count * _OUTSIDE

    def add(self, entries: Entries) -> None:
        """Adds pictures, or replaces those whose ids are there."""
        padded = replace(entries, codes=self._pad(entries.codes))
        with self._changing:
            self._columns = self._columns.with_entries(padded)

    def remove(self, ids: Ids) -> None:
        """Takes pictures out; ids that are not there do no harm."""
        with self._changing:
            columns = self._columns.without(ids)
            if columns.dead > max(_FEW, columns.count // 10):
                columns = columns.compact()
            self._columns = columns

    def put_in_order(self) -> None:
        """Finds which codes are alike, so that searches look at fewer of them; searches and changes go on meanwhile.

        Where codes are too much unlike each other, the table stays as it is.
        """
        now = self._columns.compact()
        if not now.count:
            return
        order, lists = arrange(now.codes[: now.count])
        arranged = copied(now, order, now.count, lists)
        if _share_seen(arranged) > _WORTH_KEEPING:
            self._flat_until = 2 * now.count
            return
        with self._changing:
            self._columns = arranged.brought_up_to(self._columns)

    def nearest(self, code: Code, pool: int | None, radius: int | None, among: Subset | None = None) -> Candidates:
        """Finds the pool of a query: the paper's coarse-level search.

        Args:
            code: `(bits / 8,)` uint8.
            pool: the most candidates, ties broken by id; None for all.
            radius: the largest Hamming distance; None for any.
            among: only these pictures; None for all.
        """
        columns = self._columns
        found = _nearest(columns, self._pad(code), pool, radius, self._allowed(columns, among))
        return columns.candidates(found.rows, found.distances)

    def everything(self, among: Subset | None = None) -> Candidates:
        """Returns every picture, for a search that looks at all F7; Hamming distances are left at zero."""
        columns = self._columns
        allowed = self._allowed(columns, among)
        rows = np.arange(columns.count) if allowed is None else np.flatnonzero(allowed)
        return columns.candidates(rows, np.zeros(len(rows), np.int32))

    def find(self, picture_id: int) -> tuple[Code, Candidates] | None:
        """Returns a picture's code `(bits / 8,)` and itself as a candidate, or None."""
        columns = self._columns
        rows = columns.positions(np.array([picture_id], np.int64))
        if not len(rows):
            return None
        return columns.codes[rows[0], : self._bytes].copy(), columns.candidates(rows, np.zeros(1, np.int32))

    def codes(self, ids: Ids) -> Code:
        """Returns the codes of pictures, `(n, bits / 8)`; zeros for those that are gone."""
        columns = self._columns
        rows, known = columns.rows(ids)
        codes = np.zeros((len(ids), self._bytes), np.uint8)
        codes[known] = columns.codes[rows, : self._bytes]
        return codes

    def hamming(self, code: Code, ids: Ids) -> NDArray[np.int32]:
        """Counts the bits in which a code differs from those of pictures; `(n,)`, -1 for those that are gone."""
        columns = self._columns
        rows, known = columns.rows(ids)
        distances = np.full(len(ids), -1, np.int32)
        distances[known] = code_distances(self._pad(code), columns.codes[rows])
        return distances

    def _allowed(self, columns: Columns, among: Subset | None) -> Mask | None:
        """Returns which rows a search may find, `(count,)`; None for all."""
        if among is None:
            return columns.alive[: columns.count] if columns.dead else None
        known, mask = self._masks.get(among, (None, None))
        if mask is None or known is not columns:
            mask = np.isin(columns.ids[: columns.count], among.ids) & columns.alive[: columns.count]
            self._masks[among] = columns, mask
        return mask

    def _pad(self, codes: Code) -> Code:
        """Adds zero bytes at the end of one code `(bytes,)` or of each of many `(n, bytes)`."""
        if codes.shape[-1] != self._bytes:
            raise ValueError(f"codes have {self._bytes} bytes here, not {codes.shape[-1]}")
        padded = np.zeros((*codes.shape[:-1], self._width), np.uint8)
        padded[..., : self._bytes] = codes
        return padded


@dataclass(frozen=True)
class _Found:
    """Rows `(n,)` and their distances `(n,)`, ascending unless said; `seen` counts all that were looked at."""

    distances: NDArray[np.int32]
    rows: NDArray[np.int64]
    seen: int

    def first(self, most: int) -> "_Found":
        return replace(self, distances=self.distances[:most], rows=self.rows[:most])


_NOTHING = _Found(np.zeros(0, np.int32), np.zeros(0, np.int64), 0)


def _nearest(columns: Columns, query: Code, pool: int | None, radius: int | None, allowed: Mask | None) -> _Found:
    """Looks at the rows in no list, at the lists next to the query, and at the lists that may hold a nearer code."""
    wanted = columns.count if pool is None else min(pool, columns.count)
    farthest = 8 * len(query) if radius is None else radius
    if not wanted:
        return _NOTHING
    rest = _scan(columns, query, slice(columns.lists.end, columns.count), wanted, farthest, allowed)
    if not columns.lists.end:
        return rest
    near, few = columns.lists.near(query), columns.count * _WORTH_KEEPING
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


def _scan(columns: Columns, query: Code, run: slice, wanted: int, farthest: int, allowed: Mask | None) -> _Found:
    """Finds the nearest of a run of rows whose ids ascend, leaving out those that are not allowed."""
    codes, size = columns.codes[run], run.stop - run.start
    passing = size if allowed is None else int(np.count_nonzero(allowed[run]))
    if allowed is None or passing == size:
        distances, rows = _flat(codes, query, wanted, farthest)
        return _Found(distances, rows + run.start, size)
    if passing > size // _GATHERED:
        # Most may pass: some more than are wanted hold enough of them, unless the others are all nearer.
        asked = min(size, wanted * size // passing * 5 // 4 + 64)
        distances, rows = _flat(codes, query, asked, farthest)
        good = allowed[run][rows]
        if len(rows) < asked or np.count_nonzero(good) >= min(wanted, passing):
            return _Found(distances[good], rows[good] + run.start, size).first(wanted)
    among = np.flatnonzero(allowed[run])
    distances, rows = _flat(codes.take(among, axis=0), query, wanted, farthest)
    return _Found(distances, among[rows] + run.start, size)


def _scan_lists(
    columns: Columns,
    query: Code,
    runs: list[slice],
    wanted: int,
    farthest: int,
    allowed: Mask | None,
    before: _Found,
) -> _Found:
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


def _scan_listed(columns: Columns, query: Code, wanted: int, farthest: int, allowed: Mask | None) -> _Found:
    """Finds at least the nearest of all rows in lists."""
    listed = slice(0, columns.lists.end)
    if allowed is not None and np.count_nonzero(allowed[listed]) <= listed.stop // _GATHERED:
        rows = np.flatnonzero(allowed[listed])
        return _measured(query, columns.codes.take(rows, axis=0), rows, farthest)
    return _with_ties(lambda asked: _scan(columns, query, listed, asked, farthest, allowed), wanted)


def _measured(query: Code, codes: Code, rows: NDArray[np.int64], farthest: int) -> _Found:
    """Measures some rows, whose codes these are, and keeps those that are near enough; in no order."""
    distances = code_distances(query, codes)
    near = np.flatnonzero(distances <= farthest)
    return _Found(distances[near], rows[near], len(rows))


def _with_ties(scan: Callable[[int], _Found], wanted: int) -> _Found:
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


def _merged(ids: Ids, parts: list[_Found], wanted: int) -> _Found:
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
    return _Found(distances[order], rows[order], sum(part.seen for part in parts))


def _share_seen(columns: Columns) -> float:
    """Returns how much of all codes searches look at, for codes of the table as queries."""
    queries = columns.codes[np.linspace(0, columns.count - 1, _TRIALS).astype(np.int64)]
    seen = [_nearest(columns, query, _USUAL_POOL, None, None).seen for query in queries]
    return float(np.mean(seen)) / columns.count
