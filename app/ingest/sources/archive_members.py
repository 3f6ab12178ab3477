"""What zip and tar archives share: members, limits, and the errors that refuse an archive."""

from collections.abc import Callable
from dataclasses import dataclass

from app.errors import LookalikeError
from app.ingest.sources.table import TableLimits

# Of a longer name the end is kept, since names are held in memory: it is still too long for a key.
_LONGEST_NAME = 1024


class DamagedArchiveError(LookalikeError):
    """An archive cannot be read, or not beyond a point; its text says why."""


class ArchiveRefusedError(LookalikeError):
    """An archive is larger than the limits allow, and nothing of it is taken."""


@dataclass(frozen=True)
class ArchiveLimits:
    """How much of an archive is taken.

    Attributes:
        member_bytes: the largest picture.
        members: files and folders, rows of its table, and entries altogether.
        bytes: all files together, unpacked.
        table_bytes: the largest table of metadata.
    """

    member_bytes: int
    members: int = 1_000_000
    bytes: int = 1_000_000_000_000
    table_bytes: int = 100_000_000

    @property
    def table(self) -> TableLimits:
        """The limits of the archive's table."""
        return TableLimits(self.members)

    def require_members(self, count: int) -> None:
        """Check a number of members, rows or entries.

        Raises:
            ArchiveRefusedError: there are too many.
        """
        if count > self.members:
            raise ArchiveRefusedError(f"The archive holds more than {self.members:,} files. Split it.")


@dataclass(frozen=True)
class Member:
    """A file in an archive, which is read or left before the next one is asked for.

    Attributes:
        name: its path in the archive.
        size: its bytes, as the archive declares them.
        read: returns its bytes, given the most that it may have. Raises UnusableError where the file alone cannot be
            read, and DamagedArchiveError where the archive ends.
    """

    name: str
    size: int
    read: Callable[[int], bytes]


class Counted:
    """Counts what an archive claims to hold, and stops at the limits."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits, self._members, self._bytes = limits, 0, 0

    def take(self, size: int) -> None:
        """Count a member.

        Raises:
            ArchiveRefusedError: it is one too many, or too large.
        """
        self._members += 1
        self._limits.require_members(self._members)
        self.take_bytes(size)

    def take_bytes(self, size: int) -> None:
        """Count bytes that belong to no member.

        Raises:
            ArchiveRefusedError: they are too many.
        """
        self._bytes += size
        if self._bytes > self._limits.bytes:
            raise ArchiveRefusedError(f"The archive unpacks to more than {self._limits.bytes:,} bytes. Split it.")


def plain(name: str) -> str:
    """Return a member's name as a path below the archive, whatever it begins with."""
    # What `PurePosixPath` makes of it, in a tenth of the time: it is asked for every file and every row.
    return "/".join(part for part in name[-_LONGEST_NAME:].split("/") if part not in ("", ".")) or "."


def oversized(limit: int) -> str:
    """Say why a member is not read."""
    return f"The file has more than {limit:,} bytes, the most that is taken."
