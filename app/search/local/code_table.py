"""Snapshots of the code table: arrays with all codes of an index version, changed by copy-on-write.

Rows in use are never overwritten: a change creates a new `Snapshot`, which shares arrays with the old one where
possible. Readers use one snapshot and need no locks.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.search.local.inverted_lists import NO_LISTS, InvertedLists
from app.search.types import Candidates, Ids, IndexEntries

Codes = NDArray[np.uint8]
Rows = NDArray[np.int64]

MIN_CAPACITY = 1024
_ARRAYS = ("ids", "codes", "slots", "checksums", "alive")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Immutable view of the code table. Rows before `count` never change; the others are spare capacity.

    The rows of the inverted lists come first, list by list, then the unlisted rows. Within each list, and within the
    unlisted rows, ids ascend.

    Attributes:
        ids: `(capacity,)` int64.
        codes: `(capacity, width)` uint8, padded to whole words.
        slots: `(capacity,)` int64.
        checksums: `(capacity,)` uint32.
        alive: `(capacity,)` bool, False for deleted images.
        by_id: `(capacity,)` int64, rows sorted by id.
        count: number of rows in use.
        deleted: number of rows in use that are deleted.
        lists: inverted lists of rows with similar codes.
    """

    ids: Ids
    codes: Codes
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    alive: NDArray[np.bool_]
    by_id: Rows
    count: int
    deleted: int
    lists: InvertedLists

    @property
    def nbytes(self) -> int:
        """Memory used by the arrays in bytes."""
        arrays = (self.ids, self.codes, self.slots, self.checksums, self.alive, self.by_id)
        return sum(array.nbytes for array in arrays)

    def rows(self, ids: Ids) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the rows of known ids `(known,)`, including deleted ones, and the mask of known ids `(n,)`."""
        positions = np.searchsorted(self.ids[: self.count], ids, sorter=self.by_id[: self.count])
        rows = self.by_id[np.minimum(positions, len(self.by_id) - 1)]
        known: NDArray[np.bool_] = (positions < self.count) & (self.ids[rows] == ids)
        return rows[known], known

    def alive_rows(self, ids: Ids) -> Rows:
        """Return the rows of these ids; unknown and deleted ids are omitted."""
        rows, _ = self.rows(ids)
        return rows[self.alive[rows]]

    def all_alive_rows(self) -> Rows:
        """Return all rows that are not deleted."""
        return np.flatnonzero(self.alive[: self.count])

    def candidates(self, rows: Rows, hamming: NDArray[np.int32]) -> Candidates:
        """Return the images in these rows as candidates."""
        return Candidates(self.ids.take(rows), hamming, self.slots.take(rows), self.checksums.take(rows))

    def with_entries(self, entries: IndexEntries) -> "Snapshot":
        """Return a snapshot with these images added, or replacing those with the same ids."""
        rows, known = self.rows(entries.ids)
        snapshot = self
        if known.any():
            # Readers may be using the rows; a mix of old and new values would look damaged.
            snapshot = copy_rows(self, np.arange(self.count), len(self.ids))
            snapshot = snapshot._overwritten(rows, entries.take(known))
        return snapshot._appended(entries.take(~known))

    def without(self, ids: Ids) -> "Snapshot":
        """Return a snapshot with these images marked as deleted."""
        rows = np.unique(self.alive_rows(ids))
        alive = self.alive.copy()
        alive[rows] = False
        return replace(self, alive=alive, deleted=self.deleted + len(rows))

    def compact(self) -> "Snapshot":
        """Return a copy without deleted rows and inverted lists, sorted by id."""
        by_id = self.by_id[: self.count]
        return copy_rows(self, by_id[self.alive[by_id]], 0, NO_LISTS)

    def updated_to(self, later: "Snapshot") -> "Snapshot":
        """Return this snapshot with the changes between the table it was copied from and `later`.

        A slot is written once, so rows with equal id and slot are equal.
        """
        alive = later.all_alive_rows()
        rows, known = self.rows(later.ids[alive])
        unchanged = known.copy()
        unchanged[known] = self.slots[rows] == later.slots[alive[known]]
        removed = np.ones(self.count, np.bool_)
        removed[rows] = False
        changed = alive[~unchanged][np.argsort(later.ids[alive[~unchanged]])]
        return self.without(self.ids[: self.count][removed]).with_entries(later._entries(changed))

    def _entries(self, rows: Rows) -> IndexEntries:
        return IndexEntries(self.ids[rows], self.codes[rows], self.slots[rows], self.checksums[rows])

    def _overwritten(self, rows: Rows, entries: IndexEntries) -> "Snapshot":
        revived = int((~self.alive[rows]).sum())
        self._write(rows, entries)
        return replace(self, deleted=self.deleted - revived, lists=self.lists.widened(rows, entries.codes))

    def _appended(self, entries: IndexEntries) -> "Snapshot":
        """Add rows after those in use, which no reader accesses."""
        total, snapshot = self.count + len(entries.ids), self
        if total > len(self.ids):
            capacity = total if self.count == 0 else max(total, 2 * len(self.ids))
            snapshot = copy_rows(self, np.arange(self.count), capacity)
        rows = np.arange(self.count, total)
        snapshot._write(rows, entries)
        snapshot.by_id[rows] = rows
        max_id = self.ids[self.by_id[self.count - 1]] if self.count else -1
        snapshot = replace(snapshot, count=total)
        if not len(rows) or entries.ids[0] > max_id:
            return snapshot
        # A new `by_id` array: readers of older snapshots still use the old one.
        return replace(snapshot, by_id=np.argsort(snapshot.ids[:total], kind="stable")).compact()

    def _write(self, rows: Rows, entries: IndexEntries) -> None:
        self.ids[rows] = entries.ids
        self.codes[rows] = entries.codes
        self.slots[rows] = entries.slots
        self.checksums[rows] = entries.checksums
        self.alive[rows] = True


def empty_snapshot(width: int, capacity: int = MIN_CAPACITY) -> Snapshot:
    """Return a snapshot without rows for codes of `width` bytes."""
    return Snapshot(
        ids=np.zeros(capacity, np.int64),
        codes=np.zeros((capacity, width), np.uint8),
        slots=np.zeros(capacity, np.int64),
        checksums=np.zeros(capacity, np.uint32),
        alive=np.zeros(capacity, np.bool_),
        by_id=np.zeros(capacity, np.int64),
        count=0,
        deleted=0,
        lists=NO_LISTS,
    )


def copy_rows(snapshot: Snapshot, rows: Rows, capacity: int, lists: InvertedLists | None = None) -> Snapshot:
    """Copy rows into new arrays, in this order. With `lists=None` the lists are kept, and `rows` must be all rows."""
    count = len(rows)
    copy = empty_snapshot(snapshot.codes.shape[1], max(count, capacity, MIN_CAPACITY))
    for name in _ARRAYS:
        np.take(getattr(snapshot, name), rows, axis=0, out=getattr(copy, name)[:count])
    copy.by_id[:count] = snapshot.by_id[:count] if lists is None else np.argsort(copy.ids[:count], kind="stable")
    deleted = count - int(np.count_nonzero(copy.alive[:count]))
    return replace(copy, count=count, deleted=deleted, lists=snapshot.lists if lists is None else lists)
