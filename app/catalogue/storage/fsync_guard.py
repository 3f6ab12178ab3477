"""Whether the disk still keeps what it is given, and has room for it.

A sync that failed says nothing of what was written before it, and one that is tried again may succeed without having
written anything: the kernel forgets what it could not write (Rebello et al., *Can Applications Recover from fsync
Failures?*, USENIX ATC 2020). So after the first failure nothing more is written, and the process ends.
"""

import errno
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from app.catalogue.embedded.free_space import Room
from app.errors import UnavailableError

log = logging.getLogger(__name__)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# The disk is broken, gone, or was made read-only because it is.
BROKEN = (errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE)


def age(path: Path) -> float:
    """Returns how many seconds ago a file was written; none for one that went meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


class Disk:
    """One process's trust in its disk, until the first sync that fails.

    Args:
        room: what writes leave free; without it they go on until the disk is full.
    """

    def __init__(self, room: Room | None = None) -> None:
        self._failure, self._room = "", room
        self._hear: Callable[[], object] = lambda: None

    def when_it_fails(self, hear: Callable[[], object]) -> None:
        """Has the first failure told, from whatever thread it happens in."""
        self._hear = hear

    def require(self) -> None:
        """Refuses to go on after a failure.

        Raises:
            UnavailableError: a sync has failed.
        """
        if self._failure:
            raise UnavailableError(self._failure, retry_after=30)

    def require_room(self, size: int = 0) -> None:
        """Refuses a write of so many bytes that do not fit.

        Raises:
            UnavailableError: they do not, or a sync has failed.
        """
        self.require()
        if self._room is not None:
            self._room.require(size)

    def claimed(self, size: int) -> AbstractContextManager[None]:
        """Sets bytes aside while they are written.

        Raises:
            UnavailableError: on entry: they do not fit.
        """
        return nullcontext() if self._room is None else self._room.claimed(size)

    def sync(self, fd: int, *, alone: bool = True) -> None:
        """Waits until what was written to a file is on the disk.

        The kernel tells of a failure once for each time that the file was opened. Threads that write through one
        descriptor therefore come here one after the other, and not `alone`: then a full disk is a failure like any
        other, because what others wrote before may be lost with it, and they would not be told.

        Raises:
            UnavailableError: it is not, and never will be.
            OSError: the disk is full.
        """
        self.require()
        try:
            os.fsync(fd)
        except OSError as error:
            if alone and error.errno in NO_SPACE:
                raise
            self._fail(error)
            self.require()

    def refusal(self, error: OSError, what: str) -> UnavailableError:
        """Returns what to tell whoever could not write because of an error; a broken disk fails for good.

        Args:
            error: what writing raised.
            what: what the disk holds, such as `vectors`.
        """
        if error.errno in NO_SPACE:
            return UnavailableError(f"The disk that holds the {what} is full.", retry_after=60)
        if error.errno in BROKEN:
            self._fail(error)
            return UnavailableError(self._failure, retry_after=30)
        return UnavailableError(f"The disk that holds the {what} cannot be written to: {error.strerror}.")

    def _fail(self, error: OSError) -> None:
        if not self._failure:
            self._failure = f"The disk failed to keep what was written ({error.strerror}); nothing more is taken."
            log.critical("the disk failed, and nothing more is written: %s", error)
            self._hear()

    def sync_path(self, path: Path) -> None:
        """Does so for a file or folder by its path."""
        fd = os.open(path, os.O_RDONLY)
        try:
            self.sync(fd)
        finally:
            os.close(fd)
