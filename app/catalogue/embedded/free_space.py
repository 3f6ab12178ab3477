"""Free space that writes leave to PostgreSQL and to searches.

PostgreSQL ends when it cannot write its log, and searches with it. So writes are refused while there still is room:

    free space                   what goes on
    `least` or more              everything
    one log segment or more      searches, and changes that make room or end something, such as deletions
    less                         searches; the ballast, if there is one, is given up for those changes

It checks what the file system says, in a microsecond, before every write.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import UnavailableError

MEGABYTE = 1_000_000
# PostgreSQL's log grows by files of this size.
SEGMENT = 16 << 20
# Seconds after which a refused write may be tried again.
RETRY_S = 30
_SMALLEST, _LARGEST, _SHARE = 64 * MEGABYTE, 1000 * MEGABYTE, 20


class Room:
    """The free space of the file systems that some folders are on.

    Args:
        folders: where bytes are written; those that do not exist are left out.
        least: bytes that stay free.
        make_some: called when even changes that make room find none; tells whether it helped.
    """

    def __init__(self, folders: Iterable[Path], least: int, make_some: Callable[[], bool] = lambda: False) -> None:
        self._folders, self.least, self.make_some = tuple(folders), least, make_some
        self._claimed, self._claiming = 0, threading.Lock()

    def free(self) -> int:
        """Return the bytes free on the fullest of the file systems."""
        found = [free(folder) for folder in self._folders if folder.exists()]
        return min(found, default=self.least)

    def require(self, size: int = 0) -> None:
        """Refuse a write of so many bytes unless `least` stays free.

        Raises:
            UnavailableError: it would not.
        """
        self._refuse_below(self.least + size)

    def require_reserve(self) -> None:
        """Refuse a change that makes room only where PostgreSQL could not log it.

        Raises:
            UnavailableError: there is less than a log segment free, and nothing to give up.
        """
        if self.free() < SEGMENT:
            self.make_some()
            self._refuse_below(min(SEGMENT, self.least))

    @contextmanager
    def claimed(self, size: int) -> Iterator[None]:
        """Set bytes aside while they are written, so that writes at the same time do not count on the same ones.

        Raises:
            UnavailableError: they do not fit.
        """
        with self._claiming:
            self.require(self._claimed + size)
            self._claimed += size
        try:
            yield
        finally:
            with self._claiming:
                self._claimed -= size

    def _refuse_below(self, needed: int) -> None:
        there = self.free()
        if there < needed:
            raise UnavailableError(
                f"The disk is full: {there / MEGABYTE:,.0f} MB are free, and this needs {needed / MEGABYTE:,.0f} MB. "
                "Searches go on. Make room, or delete images.",
                retry_after=RETRY_S,
            )


def free(folder: Path) -> int:
    """Return the bytes that a user other than root may still write on a folder's file system."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def least_free(folder: Path, chosen: int | None = None) -> int:
    """Return how many bytes writes leave free: those chosen, or a share of a folder's file system."""
    if chosen is not None:
        return chosen
    state = os.statvfs(folder)
    return min(max(state.f_blocks * state.f_frsize // _SHARE, _SMALLEST), _LARGEST)
