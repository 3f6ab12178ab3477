"""An archive of pictures: zip, tar or tar.gz, read where it lies and never unpacked to disk.

The key is the path within the archive, the label the name of the folder. A table `metadata.csv` or `metadata.jsonl` at
the top, or in a folder at the top, says more (`table.py`): then the key and label of a file are what its row says.
"""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from app.errors import InvalidInputError
from app.ingest.archive_members import ArchiveLimits, DamagedArchiveError, Member, Wanted, plain
from app.ingest.archive_tar import is_tar, tar_members
from app.ingest.archive_zip import is_zip, zip_members
from app.ingest.entries import Entry, is_picture, labelled, unusable
from app.ingest.table import SUFFIXES, Row, Table

TABLE = "metadata"
_DEEPEST_TABLE = 2


def is_archive(path: Path) -> bool:
    """Tells by a file's first bytes whether it is an archive that can be read."""
    return is_zip(path) or is_tar(path)


@dataclass(frozen=True)
class _Survey:
    """What a first look at an archive finds: how often each name is there, what its table says, and any damage."""

    names: Counter[str] = field(default_factory=Counter)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    problems: list[Row] = field(default_factory=list)
    damage: str | None = None

    def wants(self, name: str) -> bool:
        return is_picture(name) or name in self.rows

    @property
    def missing(self) -> list[Row]:
        return [row for name, rows in self.rows.items() if name not in self.names for row in rows]


class Archive:
    """The pictures of an archive, which its owner knows by a name, or has no need of one.

    Raises, when it is counted or gone through:
        ArchiveRefusedError: it holds more than the limits allow.
        InvalidInputError: its table is none.
    """

    def __init__(self, path: Path, limits: ArchiveLimits, name: str = "") -> None:
        self._path, self._limits, self._name = path, limits, name

    @property
    def damage(self) -> str | None:
        """What keeps the archive from being read to its end, if anything does."""
        return self._survey.damage

    def count(self) -> int:
        """Returns how many pictures there are, and rows of its table that name none."""
        survey = self._survey
        pictures = sum(
            times * len(survey.rows.get(name, (None,))) for name, times in survey.names.items() if survey.wants(name)
        )
        return pictures + len(survey.problems) + len(survey.missing) + (survey.damage is not None)

    def __iter__(self) -> Iterator[Entry]:
        """Goes through them, in the archive's order; what cannot be used comes last."""
        survey = self._survey
        try:
            for member in self._members(survey.wants, self._limits.member_bytes):
                yield from self._entries(member)
        except DamagedArchiveError as error:
            yield unusable(self._told("all that comes after"), str(error))
        for row in survey.problems:
            yield unusable(self._told(f"line {row.line} of its table"), row.problem or "", row.key)
        for row in survey.missing:
            yield unusable(self._told(f"line {row.line} of its table"), f"There is no file {row.file}.", row.key)

    def _entries(self, member: Member) -> Iterator[Entry]:
        name = self._told(member.name)
        row_or_none: list[Row | None] = [*self._survey.rows.get(member.name, [])] or [None]
        for row in row_or_none:
            key, given = (member.name, labelled(member.name)) if row is None else (row.key, row.given)
            if member.problem is not None:
                yield unusable(name, member.problem, key)
            else:
                yield Entry(name, key, given, len(member.data), lambda: member.data)

    def _members(self, wanted: Wanted, most: int) -> Iterator[Member]:
        limits = replace(self._limits, member_bytes=most)
        return (zip_members if is_zip(self._path) else tar_members)(self._path, limits, wanted)

    @cached_property
    def _survey(self) -> _Survey:
        """Goes through the archive once; what is not its table is only counted."""
        names, tables, damage = Counter[str](), list[Member](), None

        def is_the_table(name: str) -> bool:
            names[name] += 1
            return not tables and _may_be_table(name)

        try:
            for member in self._members(is_the_table, self._limits.table_bytes):
                tables.append(member)
        except DamagedArchiveError as error:
            damage = str(error)
        rows, problems = self._rows(tables[0]) if tables else ({}, [])
        return _Survey(names, rows, problems, damage)

    def _rows(self, table: Member) -> tuple[dict[str, list[Row]], list[Row]]:
        """Returns the rows of a table by the file that they speak of, and those that cannot be used."""
        rows, problems = dict[str, list[Row]](), list[Row]()
        for row in self._table(table):
            if row.problem is not None:
                problems.append(row)
            else:
                rows.setdefault(plain(str(PurePosixPath(table.name).parent / row.file)), []).append(row)
        return rows, problems

    def _told(self, what: str) -> str:
        return f"{self._name}: {what}" if self._name else what

    def _table(self, member: Member) -> Table:
        name = self._told(member.name)
        if member.problem is not None:
            raise InvalidInputError(name, member.problem)

        def opened() -> io.TextIOWrapper:
            return io.TextIOWrapper(io.BytesIO(member.data), encoding="utf-8-sig", newline="")

        return Table(name, SUFFIXES[PurePosixPath(member.name).suffix.lower()], opened)


def _may_be_table(name: str) -> bool:
    path = PurePosixPath(name)
    return path.stem == TABLE and path.suffix.lower() in SUFFIXES and len(path.parts) <= _DEEPEST_TABLE
