"""Read images from a zip, tar or tar.gz archive, without unpacking it to disk.

An entry's key is its path in the archive, its label the name of its folder. A table `metadata.csv` or `metadata.jsonl`
at the top level, or in a top-level folder, replaces these and adds metadata (`table.py`). Links to files of the archive
are entries, directly after that of the file.

Archives are untrusted, so this runs in a confined process (`reader.py`).
"""

import io
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from app.errors import InvalidInputError
from app.ingest.sources.archives.members import ArchiveLimits, DamagedArchiveError, Member
from app.ingest.sources.archives.survey import Survey, survey, unpack_row
from app.ingest.sources.archives.tar import is_tar, tar_members
from app.ingest.sources.archives.zip import is_zip, zip_members
from app.ingest.sources.items import Entry, UnusableError, folder_label, unusable
from app.ingest.sources.table import SUFFIXES, Row, Table
from models.data.left_out import LeftOut

_HEAD_BYTES = 1 << 16


def is_archive(path: Path) -> bool:
    """Whether a file is a supported archive, by its first 64 KiB."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return is_zip(head) or is_tar(head)


class Archive:
    """The images of an archive; `name` prefixes the names of its entries.

    Counting and iterating raise:
        ArchiveRefusedError: the archive exceeds a limit.
        InvalidInputError: its table cannot be read.
    """

    def __init__(self, file: BinaryIO, limits: ArchiveLimits, name: str = "") -> None:
        self._file, self._limits, self._name = file, limits, name

    @property
    def damage(self) -> str | None:
        """Why the archive cannot be read to its end, or None."""
        return self._survey.damage

    @property
    def left_out(self) -> LeftOut:
        """What the archive holds that is neither an entry nor its table."""
        return self._survey.left_out

    def count(self) -> int:
        """Number of entries: images, and rows of the table that cannot be used or whose file is missing."""
        total = self._survey.count()
        self._limits.require_members(total)
        return total

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """Yield the entries in the archive's order, then unusable rows of the table.

        Args:
            first: the number of leading entries to yield without their bytes.
        """
        found, number = self._survey, 0
        aliases, broken = dict(found.aliases), set(found.broken)
        try:
            for member in self._members():
                names = _entry_names(found, member, aliases, broken)
                number += sum(max(len(found.rows.get(name, ())), 1) for name in names)
                read = self._read(member) if names and number > first else _skipped
                for name in names:
                    yield from self._entries(name, member.size, read, found.rows.get(name, ()))
        except DamagedArchiveError as error:
            yield unusable(self._named("rest of the archive"), str(error))
        for row in map(unpack_row, found.problems):
            yield self._unusable_row(row, row.problem or "")
        for row in found.missing():
            yield self._unusable_row(row, row.problem or f"The archive has no file {row.file}.")

    def _entries(self, name: str, size: int, read: Callable[[], bytes], rows: Iterable[bytes]) -> Iterator[Entry]:
        for row in map(unpack_row, rows):
            if row.problem is None:
                yield Entry(self._named(name), row.key, row.given, size, read)
            else:
                yield self._unusable_row(row, row.problem)
        if not rows:
            yield Entry(self._named(name), name, folder_label(name), size, read)

    def _unusable_row(self, row: Row, reason: str) -> Entry:
        return unusable(self._named(f"line {row.line} of its table"), reason, row.key)

    def _read(self, member: Member) -> Callable[[], bytes]:
        """Read a member now, while its bytes are at hand; return a function with the bytes or the error."""
        if member.link is not None:
            return unusable("", f"The link refers to {member.link}, which is not a file of the archive.").read
        try:
            data = member.read(self._limits.member_bytes)
        except UnusableError as error:
            return unusable("", str(error)).read
        return lambda: data

    def _members(self) -> Iterator[Member]:
        self._file.seek(0)
        members = zip_members if is_zip(self._file.read(4)) else tar_members
        return members(self._file, self._limits)

    @cached_property
    def _survey(self) -> Survey:
        return survey(self._members(), self._table_bytes, self._rows)

    def _table_bytes(self, member: Member) -> bytes:
        try:
            return member.read(self._limits.table_bytes)
        except UnusableError as error:
            raise InvalidInputError(self._named(member.name), str(error)) from error

    def _rows(self, name: str, data: bytes) -> Iterable[Row]:
        kind = SUFFIXES[PurePosixPath(name).suffix.lower()]
        return Table(self._named(name), kind, lambda: io.BytesIO(data), self._limits.table)

    def _named(self, part: str) -> str:
        return f"{self._name}: {part}" if self._name else part


def _entry_names(found: Survey, member: Member, aliases: dict[str, list[str]], broken: set[str]) -> list[str]:
    """Return the names under which a member's bytes are entries: its own, and those of links to it.

    Links are entries once, even if several members have the name; `aliases` and `broken` are those not yielded yet.
    """
    if member.link is None:
        return [*([member.name] if found.wants(member.name) else []), *aliases.pop(member.name, [])]
    if member.name in broken:
        broken.remove(member.name)
        return [member.name]
    return []


def _skipped() -> bytes:
    raise UnusableError("The file was skipped.")
