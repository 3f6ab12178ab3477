"""A file that only takes space, to be given up when there is none.

PostgreSQL needs some to start on a full disk, and so does a deletion. On file systems that copy on write, such as
Btrfs and ZFS, what is given up becomes free a moment later, and snapshots keep it.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

from app.catalogue.embedded.free_space import SEGMENT, free

log = logging.getLogger(__name__)

NAME = "lookalike.ballast"
_LARGEST = 4 * SEGMENT


class Ballast:
    """The ballast in a cluster's folder, beside which writes leave `least` bytes free; safe for many processes."""

    def __init__(self, cluster: Path, least: int) -> None:
        self.path, self._least = cluster / NAME, least
        self.size = min(max(least // 2, SEGMENT), _LARGEST)

    def give_up(self) -> bool:
        """Make room; tells whether there was any to make."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        log.warning("the disk is full: gave up %d MB that were kept for PostgreSQL", self.size // 1_000_000)
        return True

    def keep(self, uid: int, gid: int) -> None:
        """Set the space aside, for a user's quota, where that leaves as much free as writes need; one at a time.

        Raises:
            OSError: the file cannot be made.
        """
        if self.path.exists() or free(self.path.parent) < self._least + self.size:
            return
        made = self.path.with_name(f"{NAME}.new")
        try:
            with open(made, "wb", opener=_private) as file:
                os.fchown(file.fileno(), uid, gid)
                # Reserves blocks, which a hole would not.
                os.posix_fallocate(file.fileno(), 0, self.size)
            made.replace(self.path)
        except OSError:
            with suppress(OSError):
                made.unlink()
            raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
