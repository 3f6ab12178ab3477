"""F7 on disk: one file a generation, a fixed-size row a slot, read through a map that every process shares.

The file grows by whole chunks whose disk space is claimed before anything is written, and never shrinks: a full
disk is an error of the writer, and never a fault in a reader's map. Slots are handed out by the database and
written once; where rows were that nobody needs any more the file has holes, which take no space. Whether a row is what
was written is told by the checksum in the database; each process looks at a row's checksum the first time that it
reads it. Knows nothing of SQL.
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

from app.catalogue.storage.fsync_guard import Disk
from app.catalogue.vectors import hole_punching as sparse
from app.common import private_modes as private
from app.errors import LookalikeError
from app.search.local.checksums import checksums

Features = NDArray[np.float32]
VectorType = Literal["f32", "f16"]
Stored = NDArray[np.float32] | NDArray[np.float16]
Slots = NDArray[np.int64]

CHUNK_ROWS = 4096


class VectorFile:
    """The vectors of one generation, `(rows, dim)` float32 or float16. Safe for many threads and processes."""

    def __init__(self, path: Path, dim: int, kind: VectorType = "f32", disk: Disk | None = None) -> None:
        self._disk = disk or Disk()
        self.path, self.dim, self._dtype = path, dim, np.dtype(np.float16 if kind == "f16" else np.float32)
        private.make_folder(path.parent)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, private.FILE)
        self._mapped: Stored = np.zeros((0, dim), self._dtype)
        self._checked = np.zeros(0, np.bool_)
        self._mapping, self._syncing = threading.Lock(), threading.Lock()

    def close(self) -> None:
        """Lets the file go; maps that searches still hold stay readable until they are done."""
        os.close(self._fd)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes that the file takes, without its holes."""
        return sparse.bytes_on_disk(self._fd)

    def write(self, slots: Slots, features: Features) -> NDArray[np.uint32]:
        """Writes rows `(n, dim)` float32 at their slots and syncs them; returns their checksums `(n,)`.

        Raises:
            UnavailableError: the disk is full or has failed; nothing that was there is changed.
        """
        self._disk.require()
        stored = np.ascontiguousarray(features, self._dtype)
        try:
            self._claim(int(slots.max()) + 1)
            for slot, row in zip(slots.tolist(), stored, strict=True):
                self._write_row(slot, row.tobytes())
            with self._syncing:
                self._disk.sync(self._fd, alone=False)
        except OSError as error:
            raise self._disk.refusal(error, "vectors") from error
        return checksums(stored)

    def rows(self, slots: Slots) -> Stored:
        """Returns the mapped matrix `(rows, dim)`, large enough for all of these slots."""
        if len(slots) and int(slots.max()) >= len(self._mapped):
            self._map()
        return self._mapped

    def intact(self, slots: Slots, expected: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Tells for each slot whether its row has the checksum that it was written with."""
        mapped = self.rows(slots)
        good = slots < len(mapped)
        unseen = np.flatnonzero(good)[~self._checked[slots[good]]]
        if len(unseen):
            # A row that is wrong stays unchecked, and is looked at again the next time.
            right = checksums(mapped[slots[unseen]]) == expected[unseen]
            self._checked[slots[unseen[right]]] = True
            good[unseen[~right]] = False
        return good

    def free(self, slots: Slots) -> bool:
        """Gives back the disk that rows take which nobody reads any more, as far as they fill pages of it.

        Returns:
            False if nothing was done because somebody reads the file as a whole; see `kept_whole`.
        """
        if not len(slots):
            return True
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Where files cannot be locked nobody could be waited for, so nothing is freed.
            return True
        try:
            ordered = np.unique(slots)
            for run in np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1):
                sparse.free(self._fd, int(run[0]) * self._row_bytes, int(run[-1] + 1) * self._row_bytes)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        return True

    def _claim(self, rows: int) -> None:
        chunks = -(-rows // CHUNK_ROWS)
        wanted, there = chunks * CHUNK_ROWS * self._row_bytes, os.fstat(self._fd).st_size
        if wanted > there:
            with self._disk.claimed(wanted - there):
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
                # The flags first: a reader of the larger map must find flags for it.
                self._checked = checked
                self._mapped = np.memmap(self.path, self._dtype, "r", shape=(rows, self.dim))

    @property
    def _row_bytes(self) -> int:
        return self._dtype.itemsize * self.dim


def damaged_rows(path: Path, dim: int, kind: str, slots: Slots, expected: NDArray[np.uint32]) -> Slots:
    """Returns the slots `(n,)` whose rows of a vector file are missing or differ from their checksums."""
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
def kept_whole(folder: Path) -> Iterator[None]:
    """Has every process leave alone what no picture has any more in a folder's files, for the length of the block.

    Who reads a file as it was at one moment may still need that, and looks at the catalogue only once this is entered.
    """
    with ExitStack() as opened:
        for path in folder.glob("*.f*"):
            with suppress(OSError):
                fcntl.flock(opened.enter_context(path.open("rb")), fcntl.LOCK_SH)
        yield


def vector_type(name: str) -> VectorType:
    """Returns what the catalogue calls by this name.

    Raises:
        LookalikeError: nothing that this version knows.
    """
    for known in get_args(VectorType):
        if known == name:
            return cast("VectorType", known)
    raise LookalikeError(f"The catalogue keeps its vectors as {name}, which this version does not know.")
