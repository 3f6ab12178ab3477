"""An archive of pictures: zip, tar or tar.gz, read where it lies and never unpacked to disk.

The key is the path within the archive, the label the name of the folder. A table `metadata.csv` or `metadata.jsonl` at
the top, or in a folder at the top, says more (`table.py`): then the key and label of a file are what its row says.

Archives of others are read in a process of their own (`reader.py`); this is what runs there.
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
from app.ingest.sources.archive_members import ArchiveLimits, DamagedArchiveError, Member, plain
from app.ingest.sources.archive_tar import is_tar, tar_members
from app.ingest.sources.archive_zip import is_zip, zip_members
from app.ingest.sources.items import Entry, UnusableError, is_picture, labelled, unusable
from app.ingest.sources.table import SUFFIXES, Row, Table

TABLE = "metadata"
_DEEPEST_TABLE = 2
_HEAD_BYTES = 1 << 16


def is_archive(path: Path) -> bool:
    """Tell by a file's first bytes whether it is an archive that can be read; no more than these are looked at."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return is_zip(head) or is_tar(head)


@dataclass(frozen=True)
class _Survey:
    """What a first pass over an archive finds.

    Attributes:
        names: how often each name is there.
        rows: the rows of the table by the file that they name, packed.
        problems: rows that cannot be used, packed.
        damage: what keeps the archive from being read to its end, if anything does.
    """

    names: Counter[str] = field(default_factory=Counter)
    rows: dict[str, list[bytes]] = field(default_factory=dict)
    problems: list[bytes] = field(default_factory=list)
    damage: str | None = None

    def wants(self, name: str) -> bool:
        return is_picture(name) or name in self.rows

    @property
    def missing(self) -> Iterator[Row]:
        return (_unpacked(row) for name, rows in self.rows.items() if name not in self.names for row in rows)


class Archive:
    """The pictures of an archive, whose owner may know it by a name.

    Raises, when it is counted or iterated:
        ArchiveRefusedError: it holds more than the limits allow.
        InvalidInputError: its table cannot be read.
    """

    def __init__(self, file: BinaryIO, limits: ArchiveLimits, name: str = "") -> None:
        self._file, self._limits, self._name = file, limits, name

    @property
    def damage(self) -> str | None:
        """What keeps the archive from being read to its end, if anything does."""
        return self._survey.damage

    def count(self) -> int:
        """Return how many pictures there are, and rows of its table that name none."""
        survey = self._survey
        pictures = sum(
            times * len(survey.rows.get(name, (b"",))) for name, times in survey.names.items() if survey.wants(name)
        )
        missing = sum(len(rows) for name, rows in survey.rows.items() if name not in survey.names)
        total = pictures + len(survey.problems) + missing + (survey.damage is not None)
        # A file that is there twice is there again for each of its rows.
        self._limits.require_members(total)
        return total

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """Yield the entries in the archive's order, then those that cannot be used.

        Args:
            first: the number of entries whose bytes are not wanted; files that hold no other are not read.
        """
        survey, number = self._survey, 0
        try:
            for member in self._members():
                if survey.wants(member.name):
                    rows = survey.rows.get(member.name, [])
                    number += max(len(rows), 1)
                    yield from self._entries(member, rows, wanted=number > first)
        except DamagedArchiveError as error:
            yield unusable(self._told("all that comes after"), str(error))
        for row in map(_unpacked, survey.problems):
            yield unusable(self._told(f"line {row.line} of its table"), row.problem or "", row.key)
        for row in survey.missing:
            yield unusable(self._told(f"line {row.line} of its table"), f"There is no file {row.file}.", row.key)

    def _entries(self, member: Member, rows: list[bytes], *, wanted: bool) -> Iterator[Entry]:
        name, read = self._told(member.name), self._read(member) if wanted else _left_out
        for row in map(_unpacked, rows):
            yield Entry(name, row.key, row.given, member.size, read)
        if not rows:
            yield Entry(name, member.name, labelled(member.name), member.size, read)

    def _read(self, member: Member) -> Callable[[], bytes]:
        """Read a member now, while the archive is there; the bytes or the refusal are handed over later."""
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
        """Go through the archive once; all but its table is only counted."""
        names, table, damage = Counter[str](), list[tuple[str, bytes]](), None
        try:
            for member in self._members():
                names[member.name] += 1
                if not table and _may_be_table(member.name):
                    table.append((member.name, self._table_bytes(member)))
        except DamagedArchiveError as error:
            damage = str(error)
        rows, problems = self._rows(*table.pop()) if table else ({}, [])
        return _Survey(names, rows, problems, damage)

    def _table_bytes(self, member: Member) -> bytes:
        try:
            return member.read(self._limits.table_bytes)
        except UnusableError as error:
            raise InvalidInputError(self._told(member.name), str(error)) from error

    def _rows(self, name: str, data: bytes) -> tuple[dict[str, list[bytes]], list[bytes]]:
        """Return the rows of a table by the file that they name, and those that cannot be used."""

        def opened() -> io.TextIOWrapper:
            return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")

        kind, folder = SUFFIXES[PurePosixPath(name).suffix.lower()], PurePosixPath(name).parent
        rows, problems = dict[str, list[bytes]](), list[bytes]()
        for row in Table(self._told(name), kind, opened, self._limits.table):
            packed, usable = _packed(row)
            if usable:
                file = row.file if row.file.startswith("/") else f"{folder}/{row.file}"
                rows.setdefault(plain(file), []).append(packed)
            else:
                problems.append(packed)
        return rows, problems

    def _told(self, what: str) -> str:
        return f"{self._name}: {what}" if self._name else what


def _may_be_table(name: str) -> bool:
    path = PurePosixPath(name)
    return path.stem == TABLE and path.suffix.lower() in SUFFIXES and len(path.parts) <= _DEEPEST_TABLE


def _left_out() -> bytes:
    raise UnusableError("The file was left out.")


def _packed(row: Row) -> tuple[bytes, bool]:
    """Return a row in a third of the memory, for all are held at once; and whether it is usable."""
    try:
        return json.dumps([row.line, row.file, row.key, row.given, row.problem]).encode(), row.problem is None
    except RecursionError:
        return _packed(Row(row.line, row.file, row.key, problem="Its values lie too deep in each other."))


def _unpacked(packed: bytes) -> Row:
    return Row(*json.loads(packed))
