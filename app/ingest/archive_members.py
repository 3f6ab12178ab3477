"""What archives hold, and how much of it is taken: the words that zip and tar share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.errors import LookalikeError

# Told by a member's name whether its bytes are wanted; the others are passed over.
Wanted = Callable[[str], bool]


class DamagedArchiveError(LookalikeError):
    """An archive cannot be read, or not beyond a point; its text says why."""


class ArchiveRefusedError(LookalikeError):
    """An archive is larger than the limits allow, and nothing of it is taken."""


@dataclass(frozen=True)
class ArchiveLimits:
    """How much of an archive is taken.

    Attributes:
        member_bytes: the largest picture.
        table_bytes: the largest table of metadata.
        members: how many files and folders.
        bytes: all files together, unpacked.
    """

    member_bytes: int
    members: int = 1_000_000
    bytes: int = 1_000_000_000_000
    table_bytes: int = 100_000_000


@dataclass(frozen=True)
class Member:
    """A file in an archive; `problem` says why its bytes are not there."""

    name: str
    data: bytes = b""
    problem: str | None = None


class Counted:
    """Counts what an archive claims to hold, and stops at the limits."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits, self._members, self._bytes = limits, 0, 0

    def take(self, size: int) -> None:
        """Counts a member.

        Raises:
            ArchiveRefusedError: it is one too many.
        """
        self._members += 1
        self._bytes += size
        if self._members > self._limits.members:
            raise ArchiveRefusedError(f"The archive holds more than {self._limits.members:,} files. Split it.")
        if self._bytes > self._limits.bytes:
            raise ArchiveRefusedError(f"The archive unpacks to more than {self._limits.bytes:,} bytes. Split it.")


def plain(name: str) -> str:
    """Returns a member's name as a path below the archive, whatever it begins with."""
    return PurePosixPath(name.lstrip("/")).as_posix()


def oversized(limit: int) -> str:
    """Says why a member is not read."""
    return f"The file has more than {limit:,} bytes, the most that is taken."
