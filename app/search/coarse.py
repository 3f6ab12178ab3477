"""The coarse step: candidates by Hamming distance between codes (Lin et al. 2015, section 3.3).

All codes are in memory, sorted by picture id. FAISS scans them flat and breaks ties by position, so ties are
broken by id and the same catalogue always gives the same pool. Deleted pictures are only marked; a scan asks
for a few more and leaves the marked ones out. Knows nothing of vectors, SQL or HTTP.
"""

import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.search.kernels import code_distances, nearest_codes
from app.search.types import Candidates, Entries

Ids = NDArray[np.int64]

# FAISS has fast kernels for codes of 8, 16, 32 and 64 bytes; zero bytes at the end change no distance.
_WORD = 8
_FIRST_CAPACITY = 1024
# Marked pictures are thrown out once they are more than a tenth and more than this.
_FEW = 1000


@dataclass(frozen=True)
class Columns:
    """The codes at one moment. Rows before `count` never change; the others are spare room that no reader looks at.

    Attributes:
        ids: `(capacity,)` int64, ascending.
        codes: `(capacity, width)` uint8, padded to whole words.
        slots: `(capacity,)` int64.
        checksums: `(capacity,)` uint32.
        alive: `(capacity,)` bool, False for deleted pictures.
        count: rows in use.
        dead: rows in use that are deleted.
    """

    ids: Ids
    codes: NDArray[np.uint8]
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    alive: NDArray[np.bool_]
    count: int
    dead: int

    def positions(self, ids: Ids) -> NDArray[np.int64]:
        """Returns where these ids stand; ids that are not there or deleted are left out."""
        found = np.searchsorted(self.ids[: self.count], ids)
        inside = found < self.count
        found, ids = found[inside], ids[inside]
        present: NDArray[np.bool_] = (self.ids[found] == ids) & self.alive[found]
        return found[present]

    def candidates(self, positions: NDArray[np.int64], hamming: NDArray[np.int32]) -> Candidates:
        """Returns the candidates at these positions."""
        return Candidates(self.ids[positions], hamming, self.slots[positions], self.checksums[positions])


class CodeTable:
    """All codes of one generation. Many threads may search while one changes it."""

    def __init__(self, bits: int) -> None:
        self._bytes = bits // 8
        self._width = -(-self._bytes // _WORD) * _WORD
        self._columns = _empty(_FIRST_CAPACITY, self._width)
        self._changing = threading.Lock()

    def __len__(self) -> int:
        columns = self._columns
        return columns.count - columns.dead

    @property
    def bytes_in_use(self) -> int:
        """Bytes of memory that the arrays take."""
        columns = self._columns
        arrays = (columns.ids, columns.codes, columns.slots, columns.checksums, columns.alive)
        return sum(array.nbytes for array in arrays)

    def add(self, entries: Entries) -> None:
        """Adds pictures, or replaces those whose ids are there."""
        with self._changing:
            columns = self._columns
            at = np.searchsorted(columns.ids[: columns.count], entries.ids)
            inside = at < columns.count
            known = inside & (columns.ids[np.where(inside, at, 0)] == entries.ids)
            if known.any():
                # Searches may be reading the rows; half of the old with half of the new would look damaged.
                columns = _grown(columns, len(columns.ids))
            revived = _write(columns, at[known], self._padded(_rows(entries, known)))
            columns = replace(columns, dead=columns.dead - revived)
            self._columns = _append(columns, self._padded(_rows(entries, ~known)))

    def remove(self, ids: Ids) -> None:
        """Takes pictures out; ids that are not there do no harm."""
        with self._changing:
            columns = self._columns
            positions = np.unique(columns.positions(ids))
            alive = columns.alive.copy()
            alive[positions] = False
            columns = replace(columns, alive=alive, dead=columns.dead + len(positions))
            if columns.dead > max(_FEW, columns.count // 10):
                columns = _compact(columns)
            self._columns = columns

    def nearest(
        self, code: NDArray[np.uint8], pool: int | None, radius: int | None, among: Ids | None = None
    ) -> Candidates:
        """Finds the pool of a query: the paper's coarse-level search.

        Args:
            code: `(bits / 8,)` uint8.
            pool: the most candidates, ties broken by id; None for all.
            radius: the largest Hamming distance; None for any.
            among: only these ids, ascending; None for all.
        """
        columns, query = self._columns, self._pad(code)
        if among is not None:
            return _nearest_among(columns, query, pool, radius, columns.positions(among))
        if pool is None or pool >= columns.count:
            return _nearest_among(columns, query, pool, radius, np.flatnonzero(columns.alive[: columns.count]))
        return _nearest(columns, query, pool, radius)

    def everything(self, among: Ids | None = None) -> Candidates:
        """Returns every picture, for a search that looks at all F7; Hamming distances are left at zero."""
        columns = self._columns
        positions = columns.positions(among) if among is not None else np.flatnonzero(columns.alive[: columns.count])
        return columns.candidates(positions, np.zeros(len(positions), np.int32))

    def find(self, picture_id: int) -> tuple[NDArray[np.uint8], Candidates] | None:
        """Returns a picture's code `(bits / 8,)` and itself as a candidate, or None."""
        columns = self._columns
        positions = columns.positions(np.array([picture_id], np.int64))
        if not len(positions):
            return None
        code = columns.codes[positions[0], : self._bytes].copy()
        return code, columns.candidates(positions, np.zeros(1, np.int32))

    def hamming(self, code: NDArray[np.uint8], ids: Ids) -> NDArray[np.int32]:
        """Counts the bits in which a code differs from those of pictures; `(n,)`, meaningless for deleted ones."""
        columns = self._columns
        # Between finding and this a picture may go, and the table shrink.
        positions = np.minimum(np.searchsorted(columns.ids[: columns.count], ids), len(columns.ids) - 1)
        return code_distances(self._pad(code), columns.codes[positions])

    def _pad(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Adds zero bytes at the end of one code `(bytes,)` or of each of many `(n, bytes)`."""
        if codes.shape[-1] != self._bytes:
            raise ValueError(f"codes have {self._bytes} bytes here, not {codes.shape[-1]}")
        padded = np.zeros((*codes.shape[:-1], self._width), np.uint8)
        padded[..., : self._bytes] = codes
        return padded

    def _padded(self, entries: Entries) -> Entries:
        return replace(entries, codes=self._pad(entries.codes))


def _nearest(columns: Columns, query: NDArray[np.uint8], pool: int, radius: int | None) -> Candidates:
    wanted = min(pool, columns.count)
    ask = min(wanted + min(columns.dead, wanted), columns.count)
    while True:
        distances, positions = nearest_codes(query, columns.codes[: columns.count], ask)
        living = columns.alive[positions]
        if living.sum() >= wanted or ask == columns.count:
            break
        ask = min(2 * ask, columns.count)
    kept = columns.candidates(positions[living][:wanted], distances[living][:wanted])
    return kept if radius is None else kept.take(np.flatnonzero(kept.hamming <= radius))


def _nearest_among(
    columns: Columns,
    query: NDArray[np.uint8],
    pool: int | None,
    radius: int | None,
    positions: NDArray[np.int64],
) -> Candidates:
    distances = code_distances(query, columns.codes[positions])
    if radius is not None:
        near = distances <= radius
        distances, positions = distances[near], positions[near]
    order = np.argsort(distances, kind="stable")[:pool]
    return columns.candidates(positions[order], distances[order])


def _empty(capacity: int, width: int) -> Columns:
    return Columns(
        ids=np.zeros(capacity, np.int64),
        codes=np.zeros((capacity, width), np.uint8),
        slots=np.zeros(capacity, np.int64),
        checksums=np.zeros(capacity, np.uint32),
        alive=np.zeros(capacity, np.bool_),
        count=0,
        dead=0,
    )


def _rows(entries: Entries, chosen: NDArray[np.bool_]) -> Entries:
    return Entries(entries.ids[chosen], entries.codes[chosen], entries.slots[chosen], entries.checksums[chosen])


def _write(columns: Columns, positions: NDArray[np.int64], entries: Entries) -> int:
    """Writes rows; returns how many of them were marked as deleted before."""
    columns.ids[positions] = entries.ids
    columns.codes[positions] = entries.codes
    columns.slots[positions] = entries.slots
    columns.checksums[positions] = entries.checksums
    revived = int((~columns.alive[positions]).sum())
    columns.alive[positions] = True
    return revived


def _append(columns: Columns, entries: Entries) -> Columns:
    """Adds rows behind the others, where no reader looks, and returns columns that count them."""
    total = columns.count + len(entries.ids)
    if total > len(columns.ids):
        columns = _grown(columns, max(total, 2 * len(columns.ids)))
    _write(columns, np.arange(columns.count, total), entries)
    in_order = columns.count == 0 or not len(entries.ids) or entries.ids[0] > columns.ids[columns.count - 1]
    columns = replace(columns, count=total)
    return columns if in_order else _compact(columns)


def _grown(columns: Columns, capacity: int) -> Columns:
    return _copied(columns, np.arange(columns.count), capacity, columns.dead)


def _compact(columns: Columns) -> Columns:
    """Returns columns without the deleted rows, in the order of ids."""
    living = np.flatnonzero(columns.alive[: columns.count])
    living = living[np.argsort(columns.ids[living], kind="stable")]
    return _copied(columns, living, max(len(living), _FIRST_CAPACITY), dead=0)


def _copied(columns: Columns, positions: NDArray[np.int64], capacity: int, dead: int) -> Columns:
    fresh = _empty(capacity, columns.codes.shape[1])
    count = len(positions)
    for name in ("ids", "codes", "slots", "checksums", "alive"):
        getattr(fresh, name)[:count] = getattr(columns, name)[positions]
    return replace(fresh, count=count, dead=dead)
