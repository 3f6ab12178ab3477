"""The arrays that hold all codes of a generation, and how they change.

Rows that are in use are never written again while anybody may read them: a change makes new `Columns`, which share
the arrays with the old where they can. Readers take the columns of one moment and are done with locks.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.search.local.inverted_lists import NO_LISTS, Lists
from app.search.types import Candidates, Entries, Ids

Codes = NDArray[np.uint8]
Rows = NDArray[np.int64]

FIRST_CAPACITY = 1024
_ARRAYS = ("ids", "codes", "slots", "checksums", "alive")


@dataclass(frozen=True, eq=False)
class Columns:
    """The codes at one moment. Rows before `count` never change; the others are spare room that no reader looks at.

    The rows of the lists come first, list by list; the rest follows. Within each of them ids ascend.

    Attributes:
        ids: `(capacity,)` int64.
        codes: `(capacity, width)` uint8, padded to whole words.
        slots: `(capacity,)` int64.
        checksums: `(capacity,)` uint32.
        alive: `(capacity,)` bool, False for deleted pictures.
        by_id: `(capacity,)` int64, the rows in the order of their ids.
        count: rows in use.
        dead: rows in use that are deleted.
        lists: which rows are alike.
    """

    ids: Ids
    codes: Codes
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    alive: NDArray[np.bool_]
    by_id: Rows
    count: int
    dead: int
    lists: Lists

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        arrays = (self.ids, self.codes, self.slots, self.checksums, self.alive, self.by_id)
        return sum(array.nbytes for array in arrays)

    def rows(self, ids: Ids) -> tuple[Rows, NDArray[np.bool_]]:
        """Returns where these ids stand `(known,)`, deleted ones too, and which of them are known `(n,)`."""
        at = np.searchsorted(self.ids[: self.count], ids, sorter=self.by_id[: self.count])
        rows = self.by_id[np.minimum(at, len(self.by_id) - 1)]
        known: NDArray[np.bool_] = (at < self.count) & (self.ids[rows] == ids)
        return rows[known], known

    def positions(self, ids: Ids) -> Rows:
        """Returns where these ids stand; ids that are not there or deleted are left out."""
        rows, _ = self.rows(ids)
        return rows[self.alive[rows]]

    def living(self) -> Rows:
        """Returns where the pictures stand that are not deleted."""
        return np.flatnonzero(self.alive[: self.count])

    def candidates(self, rows: Rows, hamming: NDArray[np.int32]) -> Candidates:
        """Returns the candidates in these rows."""
        return Candidates(self.ids[rows], hamming, self.slots[rows], self.checksums[rows])

    def with_entries(self, entries: Entries) -> "Columns":
        """Returns columns with these pictures added, or replaced where their ids are there."""
        rows, known = self.rows(entries.ids)
        columns = self
        if known.any():
            # Searches may be reading the rows; half of the old with half of the new would look damaged.
            columns = copied(self, np.arange(self.count), len(self.ids))
            columns = columns._overwritten(rows, entries.take(known))
        return columns._appended(entries.take(~known))

    def without(self, ids: Ids) -> "Columns":
        """Returns columns in which these pictures are marked as deleted."""
        rows = np.unique(self.positions(ids))
        alive = self.alive.copy()
        alive[rows] = False
        return replace(self, alive=alive, dead=self.dead + len(rows))

    def compact(self) -> "Columns":
        """Returns columns without the deleted rows, all in the order of ids, without lists."""
        in_order = self.by_id[: self.count]
        return copied(self, in_order[self.alive[in_order]], 0, NO_LISTS)

    def brought_up_to(self, later: "Columns") -> "Columns":
        """Returns these columns with what has changed since they were copied from what became `later`.

        A slot is written once. So a row whose id and slot are the same holds the same.
        """
        living = later.living()
        rows, known = self.rows(later.ids[living])
        same = known.copy()
        same[known] = self.slots[rows] == later.slots[living[known]]
        gone = np.ones(self.count, np.bool_)
        gone[rows] = False
        fresh = living[~same][np.argsort(later.ids[living[~same]])]
        return self.without(self.ids[: self.count][gone]).with_entries(later._entries(fresh))

    def _entries(self, rows: Rows) -> Entries:
        return Entries(self.ids[rows], self.codes[rows], self.slots[rows], self.checksums[rows])

    def _overwritten(self, rows: Rows, entries: Entries) -> "Columns":
        revived = int((~self.alive[rows]).sum())
        self._write(rows, entries)
        return replace(self, dead=self.dead - revived, lists=self.lists.reaching(rows, entries.codes))

    def _appended(self, entries: Entries) -> "Columns":
        """Adds rows behind the others, where no reader looks."""
        total, columns = self.count + len(entries.ids), self
        if total > len(self.ids):
            room = total if self.count == 0 else max(total, 2 * len(self.ids))
            columns = copied(self, np.arange(self.count), room)
        rows = np.arange(self.count, total)
        columns._write(rows, entries)
        columns.by_id[rows] = rows
        last = self.ids[self.by_id[self.count - 1]] if self.count else -1
        columns = replace(columns, count=total)
        if not len(rows) or entries.ids[0] > last:
            return columns
        # Readers look ids up by the old order until they have the new columns.
        return replace(columns, by_id=np.argsort(columns.ids[:total], kind="stable")).compact()

    def _write(self, rows: Rows, entries: Entries) -> None:
        self.ids[rows] = entries.ids
        self.codes[rows] = entries.codes
        self.slots[rows] = entries.slots
        self.checksums[rows] = entries.checksums
        self.alive[rows] = True


def empty(width: int, capacity: int = FIRST_CAPACITY) -> Columns:
    """Returns columns without rows for codes of `width` bytes."""
    return Columns(
        ids=np.zeros(capacity, np.int64),
        codes=np.zeros((capacity, width), np.uint8),
        slots=np.zeros(capacity, np.int64),
        checksums=np.zeros(capacity, np.uint32),
        alive=np.zeros(capacity, np.bool_),
        by_id=np.zeros(capacity, np.int64),
        count=0,
        dead=0,
        lists=NO_LISTS,
    )


def copied(columns: Columns, rows: Rows, capacity: int, lists: Lists | None = None) -> Columns:
    """Copies some rows, in this order, into arrays of their own; all in their old order if the lists are kept."""
    count = len(rows)
    fresh = empty(columns.codes.shape[1], max(count, capacity, FIRST_CAPACITY))
    for name in _ARRAYS:
        np.take(getattr(columns, name), rows, axis=0, out=getattr(fresh, name)[:count])
    fresh.by_id[:count] = columns.by_id[:count] if lists is None else np.argsort(fresh.ids[:count], kind="stable")
    dead = count - int(np.count_nonzero(fresh.alive[:count]))
    return replace(fresh, count=count, dead=dead, lists=columns.lists if lists is None else lists)
