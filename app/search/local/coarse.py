"""Coarse step: candidates by Hamming distance between codes (Lin et al. 2015, section 3.3).

All codes are in memory. The result equals that of a flat scan, ties broken by id, so that a catalogue always gives the
same pool; inverted lists only skip codes that cannot be in it. Deleted images are marked, and removed later.
"""

import threading
from dataclasses import replace
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from app.search.local.code_file import CodeFileError, SavedTable
from app.search.local.code_table import Snapshot, copy_rows, empty_snapshot
from app.search.local.inverted_lists import build_lists
from app.search.local.ivf_search import MAX_COPIED_SHARE, nearest
from app.search.local.kernels import code_distances
from app.search.types import Candidates, Ids, IndexEntries, Subset

Code = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# FAISS has fast kernels for codes of 8, 16, 32 and 64 bytes; zero bytes at the end change no distance.
_WORD = 8
# Deleted rows are removed once they are more than this and more than a tenth of all rows.
_MAX_DELETED = 1000
# With fewer codes than this a flat scan is faster than inverted lists.
_MIN_COUNT_FOR_LISTS = 50_000
# Pool size and number of the trial searches that decide whether inverted lists are worthwhile.
_TRIAL_POOL, _TRIALS = 1000, 32
# Lists are rebuilt once more than this share of codes is in no list, because every search scans those.
_MAX_UNLISTED = 0.1


class CodeTable:
    """In-memory table of all codes of an index version. Threads may search while another one changes it."""

    def __init__(self, bits: int) -> None:
        self._bytes = bits // 8
        self._width = -(-self._bytes // _WORD) * _WORD
        self._snapshot = empty_snapshot(self._width)
        self._write_lock = threading.Lock()
        # Weak references: a subset may be cached long after its last search, and must not keep old snapshots alive.
        self._masks: WeakKeyDictionary[Subset, tuple[ReferenceType[Snapshot], Mask]] = WeakKeyDictionary()
        self._min_count_for_lists = _MIN_COUNT_FOR_LISTS
        # Rows changed so far, and when the table was saved; regrouping counts as a change of every row.
        self._changed = self._changed_at_save = 0

    def __len__(self) -> int:
        snapshot = self._snapshot
        return snapshot.count - snapshot.deleted

    @property
    def bytes_in_use(self) -> int:
        """Memory used by the arrays in bytes."""
        return self._snapshot.nbytes

    @property
    def mask_bytes(self) -> int:
        """Memory used by the cached mask of a subset in bytes."""
        return self._snapshot.count

    @property
    def needs_lists(self) -> bool:
        """Whether `build_lists` may be worthwhile: there are many codes, and too many of them are in no list."""
        snapshot = self._snapshot
        unlisted = snapshot.count - snapshot.lists.end
        return snapshot.count >= self._min_count_for_lists and unlisted > snapshot.count * _MAX_UNLISTED

    @property
    def unsaved(self) -> int:
        """Number of rows changed since the table was saved; regrouping changes every row."""
        return self._changed - self._changed_at_save

    def saved(self) -> tuple[SavedTable, int]:
        """Return what to save of the table, and the state to give to `set_saved` when that is done."""
        with self._write_lock:
            return SavedTable(self._snapshot, self._min_count_for_lists), self._changed

    def set_saved(self, state: int) -> None:
        """Record that the table was saved in a state, which `saved` returned."""
        self._changed_at_save = state

    def load(self, saved: SavedTable) -> None:
        """Replace the content of the table by a saved one.

        Raises:
            CodeFileError: its codes have another length.
        """
        if saved.snapshot.codes.shape[1] != self._width:
            raise CodeFileError(f"its codes have {saved.snapshot.codes.shape[1]} bytes, not {self._width}")
        with self._write_lock:
            self._snapshot, self._min_count_for_lists = saved.snapshot, saved.min_count_for_lists
            self._changed_at_save = self._changed

    def add(self, entries: IndexEntries) -> None:
        """Add images, or replace those with the same ids."""
        padded = replace(entries, codes=self._pad(entries.codes))
        with self._write_lock:
            self._snapshot = self._snapshot.with_entries(padded)
            self._changed += len(entries.ids)

    def remove(self, ids: Ids) -> None:
        """Remove images; unknown ids are ignored."""
        with self._write_lock:
            snapshot = self._snapshot.without(ids)
            if snapshot.deleted > max(_MAX_DELETED, snapshot.count // 10):
                snapshot = snapshot.compact()
            self._snapshot = snapshot
            self._changed += len(ids)

    def build_lists(self) -> None:
        """Group the codes into inverted lists, so that searches scan fewer; searches and changes continue meanwhile.

        The table stays flat if the codes are too dissimilar for lists to help.
        """
        current = self._snapshot.compact()
        if not current.count:
            return
        order, lists = build_lists(current.codes[: current.count])
        grouped = copy_rows(current, order, current.count, lists)
        if _scanned_share(grouped) > MAX_COPIED_SHARE:
            self._min_count_for_lists = 2 * current.count
            return
        with self._write_lock:
            self._snapshot = grouped.updated_to(self._snapshot)
            self._changed += self._snapshot.count

    def nearest(self, code: Code, pool: int | None, radius: int | None, among: Subset | None = None) -> Candidates:
        """Find the pool of a query: the paper's coarse-level search.

        Args:
            code: `(bits / 8,)` uint8.
            pool: maximum number of candidates, ties broken by id; None for all.
            radius: maximum Hamming distance; None for no limit.
            among: subset to search; None for all images.
        """
        snapshot = self._snapshot
        found = nearest(snapshot, self._pad(code), pool, radius, self._allowed(snapshot, among))
        codes = snapshot.codes.take(found.rows, axis=0)[:, : self._bytes]
        return replace(snapshot.candidates(found.rows, found.distances), codes=codes)

    def all_candidates(self, among: Subset | None = None) -> Candidates:
        """Return all images, for a search by F7 alone; Hamming distances are zero."""
        snapshot = self._snapshot
        allowed = self._allowed(snapshot, among)
        rows = np.arange(snapshot.count) if allowed is None else np.flatnonzero(allowed)
        return snapshot.candidates(rows, np.zeros(len(rows), np.int32))

    def entries(self) -> IndexEntries:
        """Return all images, sorted by id."""
        everything = self.all_candidates()
        images = everything.take(np.argsort(everything.ids))
        return IndexEntries(images.ids, self.codes(images.ids), images.slots, images.checksums)

    def find(self, image_id: int) -> tuple[Code, Candidates] | None:
        """Return an image's code `(bits / 8,)` and the image as a candidate; None if it is missing."""
        snapshot = self._snapshot
        rows = snapshot.alive_rows(np.array([image_id], np.int64))
        if not len(rows):
            return None
        return snapshot.codes[rows[0], : self._bytes].copy(), snapshot.candidates(rows, np.zeros(1, np.int32))

    def codes(self, ids: Ids) -> Code:
        """Return the codes of images, `(n, bits / 8)`; zeros for missing images."""
        snapshot = self._snapshot
        rows, known = snapshot.rows(ids)
        codes = np.zeros((len(ids), self._bytes), np.uint8)
        codes[known] = snapshot.codes[rows, : self._bytes]
        return codes

    def hamming(self, code: Code, ids: Ids) -> NDArray[np.int32]:
        """Return the Hamming distances from a code to those of images, `(n,)`; -1 for missing images."""
        snapshot = self._snapshot
        rows, known = snapshot.rows(ids)
        distances = np.full(len(ids), -1, np.int32)
        distances[known] = code_distances(self._pad(code), snapshot.codes[rows])
        return distances

    def _allowed(self, snapshot: Snapshot, among: Subset | None) -> Mask | None:
        """Mask of the rows that a search may return, `(count,)`; None for all."""
        if among is None:
            return snapshot.alive[: snapshot.count] if snapshot.deleted else None
        cached = self._masks.get(among)
        if cached is not None and cached[0]() is snapshot:
            return cached[1]
        mask = np.isin(snapshot.ids[: snapshot.count], among.ids) & snapshot.alive[: snapshot.count]
        self._masks[among] = ref(snapshot), mask
        return mask

    def _pad(self, codes: Code) -> Code:
        """Pad one code `(bytes,)` or each of many `(n, bytes)` with zero bytes to whole words."""
        if codes.shape[-1] != self._bytes:
            raise ValueError(f"codes have {codes.shape[-1]} bytes, expected {self._bytes}")
        padded = np.zeros((*codes.shape[:-1], self._width), np.uint8)
        padded[..., : self._bytes] = codes
        return padded


def _scanned_share(snapshot: Snapshot) -> float:
    """Mean share of all codes that a search scans, with codes of the table as queries."""
    queries = snapshot.codes[np.linspace(0, snapshot.count - 1, _TRIALS).astype(np.int64)]
    scanned = [nearest(snapshot, query, _TRIAL_POOL, None, None).scanned for query in queries]
    return float(np.mean(scanned)) / snapshot.count
