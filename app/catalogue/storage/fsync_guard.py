"""fsync with fail-stop semantics, and free-space checks.

After a failed fsync, earlier writes may be lost, and a second fsync may succeed without having written them: the kernel
discards dirty pages that it could not write (Rebello et al., *Can Applications Recover from fsync Failures?*, USENIX
ATC 2020). So after the first failure nothing more is written, and the process ends.
"""

import errno
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from app.catalogue.embedded.free_space import FreeSpace
from app.errors import UnavailableError

log = logging.getLogger(__name__)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# The disk is broken or gone, or was remounted read-only because of errors.
BROKEN = (errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE)


def seconds_since_write(path: Path) -> float:
    """Return the seconds since a file was last written; 0 for a missing file."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


class FsyncGuard:
    """fsync guard of one process: refuses all writes after the first failed sync.

    Args:
        room: free-space check; None to write until the disk is full.
    """

    def __init__(self, room: FreeSpace | None = None) -> None:
        self._failure, self._room = "", room
        self._on_failure: Callable[[], object] = lambda: None

    def on_failure(self, callback: Callable[[], object]) -> None:
        """Register a callback for the first failure; it runs in the failing thread."""
        self._on_failure = callback

    def require_healthy(self) -> None:
        """Check that no sync has failed.

        Raises:
            UnavailableError: a sync has failed.
        """
        if self._failure:
            raise UnavailableError(self._failure, retry_after=30)

    def require_room(self, size: int = 0) -> None:
        """Check that a write of `size` bytes fits.

        Raises:
            UnavailableError: it does not fit, or a sync has failed.
        """
        self.require_healthy()
        if self._room is not None:
            self._room.require(size)

    def reserved(self, size: int) -> AbstractContextManager[None]:
        """Reserve bytes while they are written.

        Raises:
            UnavailableError: on entry: they do not fit.
        """
        return nullcontext() if self._room is None else self._room.reserved(size)

    def sync(self, fd: int, *, alone: bool = True) -> None:
        """Sync a file to disk.

        The kernel reports a failure once per open file description. Threads that share a descriptor therefore call this
        one after the other, with `alone=False`: then a full disk is fatal too, because other threads' writes may be
        lost with it, and the kernel would not report that to them.

        Raises:
            UnavailableError: the sync failed, now or earlier.
            OSError: the disk is full (with `alone` only).
        """
        self.require_healthy()
        try:
            os.fsync(fd)
        except OSError as error:
            if alone and error.errno in NO_SPACE:
                raise
            self._fail(error)
            self.require_healthy()

    def translate_error(self, error: OSError, what: str) -> UnavailableError:
        """Translate a write error; one that means a broken disk counts as a failed sync.

        Args:
            error: the error of the write.
            what: contents of the disk, such as `vectors`.
        """
        if error.errno in NO_SPACE:
            return UnavailableError(f"The disk that holds the {what} is full. Free disk space.", retry_after=60)
        if error.errno in BROKEN:
            self._fail(error)
            return UnavailableError(self._failure, retry_after=30)
        return UnavailableError(f"Writing to the disk that holds the {what} failed: {error.strerror}.")

    def _fail(self, error: OSError) -> None:
        if not self._failure:
            self._failure = (
                f"The disk failed ({error.strerror}); nothing more is written. Replace or repair it, and restart."
            )
            log.critical("the disk failed; nothing more is written: %s", error)
            self._on_failure()

    def sync_path(self, path: Path) -> None:
        """Sync a file or folder by its path."""
        fd = os.open(path, os.O_RDONLY)
        try:
            self.sync(fd)
        finally:
            os.close(fd)
