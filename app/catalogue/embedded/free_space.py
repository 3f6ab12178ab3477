"""Refuse writes before the disk is full.

PostgreSQL stops when it cannot write its write-ahead log (WAL), and searches stop with it. So writes are refused while
there is still space:

    free space                   still allowed
    `min_free` or more           everything
    one WAL segment or more      searches, and changes that free space or end something, such as deletions
    less                         searches; the ballast, if any, is released for those changes

Free space is read from the file system, which takes a microsecond, before every write.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import UnavailableError

MEGABYTE = 1_000_000
# Size of PostgreSQL's WAL files.
SEGMENT = 16 << 20
# Retry-After of a refused write, in seconds.
RETRY_S = 30
_MIN_DEFAULT, _MAX_DEFAULT, _FRACTION = 64 * MEGABYTE, 1000 * MEGABYTE, 20


class FreeSpace:
    """Free space of the file systems of some folders.

    Args:
        folders: where data is written; missing ones are ignored.
        min_free: bytes that stay free.
        make_some: called when there is no space even for changes that free some; returns whether it freed any.
    """

    def __init__(self, folders: Iterable[Path], min_free: int, make_some: Callable[[], bool] = lambda: False) -> None:
        self._folders, self.min_free, self.release_reserve = tuple(folders), min_free, make_some
        self._claimed, self._lock = 0, threading.Lock()

    def free(self) -> int:
        """Return the free bytes of the fullest file system."""
        free = [free_bytes(folder) for folder in self._folders if folder.exists()]
        return min(free, default=self.min_free)

    def require(self, size: int = 0) -> None:
        """Check that `min_free` bytes stay free after a write of `size` bytes.

        Raises:
            UnavailableError: the disk is too full.
        """
        self._require(self.min_free + size)

    def require_reserve(self) -> None:
        """Check that there is space for a change that frees space; release the ballast if there is not.

        Raises:
            UnavailableError: less than a WAL segment is free, and there is no ballast.
        """
        if self.free() < SEGMENT:
            self.release_reserve()
            self._require(min(SEGMENT, self.min_free))

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Reserve bytes while they are written, so that concurrent writes do not count on the same space.

        Raises:
            UnavailableError: the disk is too full.
        """
        with self._lock:
            self.require(self._claimed + size)
            self._claimed += size
        try:
            yield
        finally:
            with self._lock:
                self._claimed -= size

    def _require(self, needed: int) -> None:
        available = self.free()
        if available < needed:
            raise UnavailableError(
                f"The disk is full: {available / MEGABYTE:,.0f} MB are free, and this needs {needed / MEGABYTE:,.0f}. "
                "Searches still work. Free disk space, or delete images.",
                retry_after=RETRY_S,
            )


def free_bytes(folder: Path) -> int:
    """Return the bytes available to ordinary users on a folder's file system."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def min_free_bytes(folder: Path, configured: int | None = None) -> int:
    """Return the bytes that writes leave free: those given, or a share of a folder's file system."""
    if configured is not None:
        return configured
    state = os.statvfs(folder)
    return min(max(state.f_blocks * state.f_frsize // _FRACTION, _MIN_DEFAULT), _MAX_DEFAULT)
