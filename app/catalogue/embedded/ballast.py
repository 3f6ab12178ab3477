"""Ballast file: reserved disk space, released when the disk is full.

PostgreSQL needs space to start on a full disk, and so does a deletion. On copy-on-write file systems such as Btrfs and
ZFS, the space becomes free with a delay, and snapshots retain it.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

from app.catalogue.embedded.free_space import SEGMENT, free_bytes

log = logging.getLogger(__name__)

NAME = "lookalike.ballast"
_MAX_BYTES = 4 * SEGMENT


class Ballast:
    """A cluster's ballast file; `min_free` is the free space that writes leave. Process-safe."""

    def __init__(self, cluster: Path, min_free: int) -> None:
        self.path, self._min_free = cluster / NAME, min_free
        self.size = min(max(min_free // 2, SEGMENT), _MAX_BYTES)

    def release(self) -> bool:
        """Delete the ballast; return whether there was any."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        log.warning("the disk is full: released %d MB of ballast", self.size // 1_000_000)
        return True

    def reserve(self, uid: int, gid: int) -> None:
        """Create the ballast under a user's quota if enough space stays free; not for concurrent use.

        Raises:
            OSError: the file cannot be created.
        """
        if self.path.exists() or free_bytes(self.path.parent) < self._min_free + self.size:
            return
        temporary = self.path.with_name(f"{NAME}.new")
        try:
            with open(temporary, "wb", opener=_open_private) as file:
                os.fchown(file.fileno(), uid, gid)
                # Allocates blocks; `truncate` would make a hole.
                os.posix_fallocate(file.fileno(), 0, self.size)
            temporary.replace(self.path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
