"""Whether the disk still keeps what it is given.

A sync that failed says nothing of what was written before it, and one that is tried again may succeed without having
written anything: the kernel forgets what it could not write (Rebello et al., *Can Applications Recover from fsync
Failures?*, USENIX ATC 2020). So after the first failure nothing more is written, and the process ends.
"""

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from app.errors import UnavailableError

log = logging.getLogger(__name__)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def age(path: Path) -> float:
    """Returns how many seconds ago a file was written; none for one that went meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


class Disk:
    """One process's trust in its disk, until the first sync that fails."""

    def __init__(self) -> None:
        self._failure = ""
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

    def sync(self, fd: int) -> None:
        """Waits until what was written to a file is on the disk.

        Raises:
            UnavailableError: it is not, and never will be; or the disk is full.
        """
        self.require()
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            self._failure = f"The disk failed to keep what was written ({error.strerror}); nothing more is taken."
            log.critical("a sync failed, and nothing more is written: %s", error)
            self._hear()
            self.require()

    def sync_path(self, path: Path) -> None:
        """Does so for a file or folder by its path."""
        fd = os.open(path, os.O_RDONLY)
        try:
            self.sync(fd)
        finally:
            os.close(fd)
