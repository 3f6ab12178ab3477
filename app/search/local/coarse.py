"""The coarse step: candidates by Hamming distance between codes (Lin et al. 2015, section 3.3).

All codes are in memory. The answer is that of a flat scan over all of them, ties broken by id, so that the same
catalogue always gives the same pool; lists of codes that are alike only tell what need not be looked at. Deleted
pictures are only marked. Knows nothing of vectors, SQL or HTTP.
"""

import threading
from dataclasses import replace
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from app.search.local.code_table import Columns, copied, empty
from app.search.local.inverted_lists import arrange
from app.search.local.ivf_search import WORTH_COPYING, nearest
from app.search.local.kernels import code_distances
from app.search.types import Candidates, Entries, Ids, Subset

Code = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# FAISS has fast kernels for codes of 8, 16, 32 and 64 bytes; zero bytes at the end change no distance.
_WORD = 8
# Marked pictures are thrown out once they are more than a tenth and more than this.
_FEW = 1000
# Fewer codes than this are read faster than chosen from.
_MANY = 50_000
# Lists are kept if searches for so many look at few enough codes.
_USUAL_POOL, _TRIALS = 1000, 32
# Past this share of codes outside the lists, which every search looks at, the table is put in order again.
_OUTSIDE = 0.1


class CodeTable:
    """All codes of one generation. Many threads may search while one changes it."""

    def __init__(self, bits: int) -> None:
        self._bytes = bits // 8
        self._width = -(-self._bytes // _WORD) * _WORD
        self._columns = empty(self._width)
        self._changing = threading.Lock()
        # A filter may be kept for long after its last search; the table of that time is not.
        self._masks: WeakKeyDictionary[Subset, tuple[ReferenceType[Columns], Mask]] = WeakKeyDictionary()
        self._flat_until = _MANY

    def __len__(self) -> int:
        columns = self._columns
        return columns.count - columns.dead

    @property
    def bytes_in_use(self) -> int:
        """Bytes of memory that the arrays take."""
        return self._columns.nbytes

    @property
    def mask_bytes(self) -> int:
        """Bytes of memory that a subset's mask takes as long as the subset is kept."""
        return self._columns.count

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
        if _share_seen(arranged) > WORTH_COPYING:
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
        found = nearest(columns, self._pad(code), pool, radius, self._allowed(columns, among))
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
        made = self._masks.get(among)
        if made is not None and made[0]() is columns:
            return made[1]
        mask = np.isin(columns.ids[: columns.count], among.ids) & columns.alive[: columns.count]
        self._masks[among] = ref(columns), mask
        return mask

    def _pad(self, codes: Code) -> Code:
        """Adds zero bytes at the end of one code `(bytes,)` or of each of many `(n, bytes)`."""
        if codes.shape[-1] != self._bytes:
            raise ValueError(f"codes have {self._bytes} bytes here, not {codes.shape[-1]}")
        padded = np.zeros((*codes.shape[:-1], self._width), np.uint8)
        padded[..., : self._bytes] = codes
        return padded


def _share_seen(columns: Columns) -> float:
    """Returns how much of all codes searches look at, for codes of the table as queries."""
    queries = columns.codes[np.linspace(0, columns.count - 1, _TRIALS).astype(np.int64)]
    seen = [nearest(columns, query, _USUAL_POOL, None, None).seen for query in queries]
    return float(np.mean(seen)) / columns.count
