"""Vector file: F7 on disk, one file per index version, one fixed-size row per slot, memory-mapped by all processes.

The file grows in whole chunks whose disk space is allocated before anything is written, and never shrinks: a full
disk is an error in the writer, never a SIGBUS in a reader. The database hands out slots, and each is written once.
Freed rows become holes, which take no disk space. The database holds a checksum of each row; a process verifies it the
first time that it reads the row.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.vectors import hole_punching
from app.common import private_modes
from app.errors import LookalikeError
from app.search.local.checksums import checksums

Features = NDArray[np.float32]
VectorType = Literal["f32", "f16"]
VectorMatrix = NDArray[np.float32] | NDArray[np.float16]
Slots = NDArray[np.int64]

CHUNK_ROWS = 4096


class VectorFile:
    """The vectors of one index version, `(rows, dim)` float32 or float16. Thread-safe and process-safe."""

    def __init__(self, path: Path, dim: int, kind: VectorType = "f32", disk: FsyncGuard | None = None) -> None:
        self._disk = disk or FsyncGuard()
        self.path, self.dim, self._dtype = path, dim, np.dtype(np.float16 if kind == "f16" else np.float32)
        private_modes.make_folder(path.parent)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, private_modes.FILE)
        self._mapped: VectorMatrix = np.zeros((0, dim), self._dtype)
        self._checked = np.zeros(0, np.bool_)
        self._mapping, self._syncing = threading.Lock(), threading.Lock()

    def close(self) -> None:
        """Close the file; mappings that searches still hold stay readable."""
        os.close(self._fd)

    @property
    def bytes_on_disk(self) -> int:
        """Disk usage in bytes, without holes."""
        return hole_punching.bytes_on_disk(self._fd)

    def as_stored(self, features: Features) -> VectorMatrix:
        """Convert rows `(n, dim)` to the stored type."""
        return np.ascontiguousarray(features, self._dtype)

    def write(self, slots: Slots, features: Features) -> NDArray[np.uint32]:
        """Write rows `(n, dim)` float32 at their slots and sync them; return their checksums `(n,)`.

        Raises:
            UnavailableError: the disk is full or has failed; existing rows are unchanged.
        """
        self._disk.require_healthy()
        stored = self.as_stored(features)
        try:
            self._claim(int(slots.max()) + 1)
            for slot, row in zip(slots.tolist(), stored, strict=True):
                self._write_row(slot, row.tobytes())
            with self._syncing:
                self._disk.sync(self._fd, alone=False)
        except OSError as error:
            raise self._disk.translate_error(error, "vectors") from error
        return checksums(stored)

    def mapped_rows(self, slots: Slots) -> VectorMatrix:
        """Return the memory-mapped matrix `(rows, dim)`, large enough for all of these slots."""
        if len(slots) and int(slots.max()) >= len(self._mapped):
            self._map()
        return self._mapped

    def verify(self, slots: Slots, expected: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Verify rows against their checksums `(n,)`; return a mask `(n,)`, True where a row is intact."""
        mapped = self.mapped_rows(slots)
        good = slots < len(mapped)
        unseen = np.flatnonzero(good)[~self._checked[slots[good]]]
        if len(unseen):
            # A damaged row stays unchecked, and is verified again the next time.
            right = checksums(mapped[slots[unseen]]) == expected[unseen]
            self._checked[slots[unseen[right]]] = True
            good[unseen[~right]] = False
        return good

    def free(self, slots: Slots) -> bool:
        """Free the disk space of unused rows by punching holes, whole pages only.

        Returns:
            False if nothing was freed because the file is locked by `kept_whole`.
        """
        if not len(slots):
            return True
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Without file locks a reader of the whole file cannot be detected, so nothing is freed.
            return True
        try:
            ordered = np.unique(slots)
            for run in np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1):
                hole_punching.punch_hole(self._fd, int(run[0]) * self._row_bytes, int(run[-1] + 1) * self._row_bytes)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        return True

    def _claim(self, rows: int) -> None:
        chunks = -(-rows // CHUNK_ROWS)
        wanted, there = chunks * CHUNK_ROWS * self._row_bytes, os.fstat(self._fd).st_size
        if wanted > there:
            with self._disk.reserved(wanted - there):
                os.posix_fallocate(self._fd, there, wanted - there)

    def _write_row(self, slot: int, row: bytes) -> None:
        view, at = memoryview(row), slot * self._row_bytes
        while view:
            written = os.pwrite(self._fd, view, at)
            view, at = view[written:], at + written

    def _map(self) -> None:
        with self._mapping:
            rows = os.fstat(self._fd).st_size // self._row_bytes
            if rows > len(self._mapped):
                checked = np.zeros(rows, np.bool_)
                checked[: len(self._checked)] = self._checked
                # Flags before the map: a reader of the larger map needs flags for all its rows.
                self._checked = checked
                self._mapped = np.memmap(self.path, self._dtype, "r", shape=(rows, self.dim))

    @property
    def _row_bytes(self) -> int:
        return self._dtype.itemsize * self.dim


def damaged_rows(path: Path, dim: int, kind: str, slots: Slots, expected: NDArray[np.uint32]) -> Slots:
    """Return the slots `(n,)` whose rows in a vector file are missing or do not match their checksums."""
    dtype = np.dtype(np.float16 if kind == "f16" else np.float32)
    rows = path.stat().st_size // (dim * dtype.itemsize) if path.exists() else 0
    mapped = np.memmap(path, dtype, "r", shape=(rows, dim)) if rows else np.zeros((0, dim), dtype)
    bad = [slots[:0]]
    for first in range(0, len(slots), CHUNK_ROWS):
        some, sums = slots[first : first + CHUNK_ROWS], expected[first : first + CHUNK_ROWS]
        good = some < rows
        good[good] = checksums(mapped[some[good]]) == sums[good]
        bad.append(some[~good])
    return np.concatenate(bad)


@contextmanager
def without_hole_punching(folder: Path) -> Iterator[None]:
    """Keep all processes from punching holes in a folder's vector files while the block runs.

    For readers of a catalogue snapshot, which may still refer to freed rows. Enter this before taking the snapshot.
    """
    with ExitStack() as opened:
        for path in folder.glob("*.f*"):
            with suppress(OSError):
                fcntl.flock(opened.enter_context(path.open("rb")), fcntl.LOCK_SH)
        yield


def parse_vector_type(name: str) -> VectorType:
    """Parse the name of a vector data type.

    Raises:
        LookalikeError: this version does not support the type.
    """
    for known in get_args(VectorType):
        if known == name:
            return cast("VectorType", known)
    raise LookalikeError(f"The catalogue stores vectors as {name}, unknown to this version. Use a newer version.")
