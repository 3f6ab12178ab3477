"""Read images from a zip, tar or tar.gz archive, without unpacking it to disk.

An entry's key is its path in the archive, its label the name of its folder. A table `metadata.csv` or `metadata.jsonl`
at the top level, or in a top-level folder, replaces these and adds metadata (`table.py`).

Archives are untrusted, so this runs in a confined process (`reader.py`).
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from app.errors import InvalidInputError
from app.ingest.sources.archive_members import ArchiveLimits, DamagedArchiveError, Member, normalised
from app.ingest.sources.archive_tar import is_tar, tar_members
from app.ingest.sources.archive_zip import is_zip, zip_members
from app.ingest.sources.items import Entry, UnusableError, folder_label, unusable
from app.ingest.sources.skipped import SkippedFiles
from app.ingest.sources.table import SUFFIXES, Row, Table
from models.data.image_files import is_image_name

TABLE = "metadata"
_MAX_TABLE_DEPTH = 2
_HEAD_BYTES = 1 << 16


def is_archive(path: Path) -> bool:
    """Whether a file is a supported archive, by its first 64 KiB."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return is_zip(head) or is_tar(head)


@dataclass(frozen=True)
class _Survey:
    """Result of the first pass over an archive.

    Attributes:
        names: the number of members of each name.
        rows: packed rows of the table, by file.
        problems: packed rows that cannot be used.
        damage: why the archive cannot be read to its end, if so.
        table: the name of the table, if there is one.
    """

    names: Counter[str] = field(default_factory=Counter)
    rows: dict[str, list[bytes]] = field(default_factory=dict)
    problems: list[bytes] = field(default_factory=list)
    damage: str | None = None
    table: str | None = None

    def wants(self, name: str) -> bool:
        return is_image_name(name) or name in self.rows

    @property
    def missing(self) -> Iterator[Row]:
        return (_unpacked(row) for name, rows in self.rows.items() if name not in self.names for row in rows)


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
    def skipped(self) -> SkippedFiles:
        """Files that are passed over because of their names."""
        skipped, survey = SkippedFiles(), self._survey
        for name, times in survey.names.items():
            if not survey.wants(name) and name != survey.table:
                skipped.add(name, times)
        return skipped

    def count(self) -> int:
        """Number of entries: images, and rows of the table that cannot be used or whose file is missing."""
        survey = self._survey
        pictures = sum(
            times * len(survey.rows.get(name, (b"",))) for name, times in survey.names.items() if survey.wants(name)
        )
        missing = sum(len(rows) for name, rows in survey.rows.items() if name not in survey.names)
        total = pictures + len(survey.problems) + missing + (survey.damage is not None)
        # A duplicate member counts once for each of its rows.
        self._limits.require_members(total)
        return total

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """Yield the entries in the archive's order, then unusable rows of the table.

        Args:
            first: the number of leading entries to yield without their bytes.
        """
        survey, number = self._survey, 0
        try:
            for member in self._members():
                if survey.wants(member.name):
                    rows = survey.rows.get(member.name, [])
                    number += max(len(rows), 1)
                    yield from self._entries(member, rows, wanted=number > first)
        except DamagedArchiveError as error:
            yield unusable(self._named("rest of the archive"), str(error))
        for row in map(_unpacked, survey.problems):
            yield unusable(self._named(f"line {row.line} of its table"), row.problem or "", row.key)
        for row in survey.missing:
            yield unusable(
                self._named(f"line {row.line} of its table"), f"The archive has no file {row.file}.", row.key
            )

    def _entries(self, member: Member, rows: list[bytes], *, wanted: bool) -> Iterator[Entry]:
        name, read = self._named(member.name), self._read(member) if wanted else _skipped
        for row in map(_unpacked, rows):
            yield Entry(name, row.key, row.given, member.size, read)
        if not rows:
            yield Entry(name, member.name, folder_label(member.name), member.size, read)

    def _read(self, member: Member) -> Callable[[], bytes]:
        """Read a member now, while its bytes are at hand; return a function with the bytes or the error."""
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
    def _survey(self) -> _Survey:
        """First pass over the archive: count members, read the table."""
        names, table, damage = Counter[str](), list[tuple[str, bytes]](), None
        try:
            for member in self._members():
                names[member.name] += 1
                if not table and _may_be_table(member.name):
                    table.append((member.name, self._table_bytes(member)))
        except DamagedArchiveError as error:
            damage = str(error)
        rows, problems = self._rows(*table[0]) if table else ({}, [])
        return _Survey(names, rows, problems, damage, table[0][0] if table else None)

    def _table_bytes(self, member: Member) -> bytes:
        try:
            return member.read(self._limits.table_bytes)
        except UnusableError as error:
            raise InvalidInputError(self._named(member.name), str(error)) from error

    def _rows(self, name: str, data: bytes) -> tuple[dict[str, list[bytes]], list[bytes]]:
        """Parse a table; return packed usable rows by file, and packed rows that cannot be used."""

        def open_text() -> io.TextIOWrapper:
            return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")

        kind, folder = SUFFIXES[PurePosixPath(name).suffix.lower()], PurePosixPath(name).parent
        rows, problems = dict[str, list[bytes]](), list[bytes]()
        for row in Table(self._named(name), kind, open_text, self._limits.table):
            packed, usable = _packed(row)
            if usable:
                file = row.file if row.file.startswith("/") else f"{folder}/{row.file}"
                rows.setdefault(normalised(file), []).append(packed)
            else:
                problems.append(packed)
        return rows, problems

    def _named(self, part: str) -> str:
        return f"{self._name}: {part}" if self._name else part


def _may_be_table(name: str) -> bool:
    path = PurePosixPath(name)
    return path.stem == TABLE and path.suffix.lower() in SUFFIXES and len(path.parts) <= _MAX_TABLE_DEPTH


def _skipped() -> bytes:
    raise UnusableError("The file was skipped.")


def _packed(row: Row) -> tuple[bytes, bool]:
    """Return a row as JSON, which takes a third of the memory, and whether it is usable."""
    try:
        return json.dumps([row.line, row.file, row.key, row.given, row.problem]).encode(), row.problem is None
    except RecursionError:
        return _packed(Row(row.line, row.file, row.key, problem="Its values are nested too deeply."))


def _unpacked(packed: bytes) -> Row:
    return Row(*json.loads(packed))
