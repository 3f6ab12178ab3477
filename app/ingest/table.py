"""A table of files and what is said of them: CSV, or JSON Lines.

The column `file` names a file, relative to the table's folder; `key` and `label` are the catalogue's; every other
column is metadata. Without a key, the file's name as it stands in the table is the key.

CSV knows nothing but text, so a column's values say together what they are: all of them plain numbers (`-3`, `89.5`,
but neither `007` nor `1e5`, which are rather somebody's own numbers for things), all of them `true` or `false`, or else
text. An empty cell says nothing. JSON Lines says what each value is; null says nothing.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

from app.catalogue.changes import Given
from app.errors import InvalidInputError
from app.ingest.entries import Entry, file_entry, text, unusable

FILE, KEY, LABEL = "file", "key", "label"
SUFFIXES = {".csv": "csv", ".jsonl": "json", ".ndjson": "json"}
# Larger whole numbers are rather names than numbers, and lose digits in many a reader of JSON.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")
_TRUTH = {"true": True, "false": False}

Open = Callable[[], TextIO]
Reading = Callable[[str], Any]


@dataclass(frozen=True)
class Row:
    """What a row of a table says; `problem` is why it cannot be used."""

    line: int
    file: str
    key: str
    given: Given = field(default_factory=Given)
    problem: str | None = None


class Table:
    """The rows of a table, read anew each time that somebody goes through them.

    Args:
        name: what its owner knows it by.
        kind: `csv` or `json`.
        open_: opens it from its beginning.
    """

    def __init__(self, name: str, kind: str, open_: Open) -> None:
        self._name, self._kind, self._open = name, kind, open_
        self._readings: dict[str, Reading] | None = None

    def __iter__(self) -> Iterator[Row]:
        """Goes through the rows.

        Raises:
            InvalidInputError: this is no such table.
        """
        with self._open() as file:
            try:
                yield from self._csv_rows(file) if self._kind == "csv" else _json_rows(file)
            except (csv.Error, UnicodeDecodeError) as error:
                raise InvalidInputError(self._name, f"cannot be read as a table: {error}") from error

    def _csv_rows(self, file: TextIO) -> Iterator[Row]:
        readings = self._columns()
        for line, cells in _cells(file, self._name):
            said = {name: readings[name](cell) for name, cell in cells.items() if cell}
            yield _row(line, said)

    def _columns(self) -> dict[str, Reading]:
        """Goes through the whole table once, to see what each column's values are."""
        if self._readings is None:
            with self._open() as file:
                kinds: dict[str, set[str]] = {}
                for _, cells in _cells(file, self._name):
                    for name, cell in cells.items():
                        kinds.setdefault(name, set()).update({_kind(cell)} if cell else ())
            self._readings = {name: _reading(name, found) for name, found in kinds.items()}
        return self._readings


class Listed:
    """The files that a table names; none larger than the limit is read."""

    def __init__(self, path: Path, limit: int) -> None:
        self._folder, self._limit, self._path = path.parent, limit, path
        self._table = table_at(path)

    def count(self) -> int:
        """Returns how many rows there are."""
        return sum(1 for _ in self._table)

    def __iter__(self) -> Iterator[Entry]:
        """Goes through the rows."""
        for row in self._table:
            name = f"{text(str(self._path))}, line {row.line}"
            if row.problem is not None:
                yield unusable(name, row.problem, row.key)
            else:
                yield self._entry(name, row)

    def _entry(self, name: str, row: Row) -> Entry:
        try:
            return file_entry(self._folder / row.file, f"{name}: {row.file}", row.key, row.given, self._limit)
        except ValueError:
            return unusable(name, "The file's name holds a NUL character.", row.key)


def table_at(path: Path) -> Table:
    """Returns the table in a file, whose kind its name tells."""
    return Table(text(str(path)), SUFFIXES[path.suffix.lower()], lambda: path.open(encoding="utf-8-sig", newline=""))


def _cells(file: TextIO, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(file)
    if FILE not in (reader.fieldnames or ()):
        raise InvalidInputError(name, f"has no column {FILE!r} in its first line, which names the columns")
    for cells in reader:
        # What stands behind the last column is under None.
        yield reader.line_num, {column: cell for column, cell in cells.items() if isinstance(cell, str)}


def _kind(cell: str) -> str:
    if _NUMBER.fullmatch(cell):
        return "number"
    return "truth" if cell in _TRUTH else "text"


def _reading(name: str, kinds: set[str]) -> Reading:
    if name in (FILE, KEY, LABEL) or len(kinds) != 1:
        return str
    return {"number": json.loads, "truth": _TRUTH.__getitem__}.get(kinds.pop(), str)


def _json_rows(file: TextIO) -> Iterator[Row]:
    for line, words in enumerate(file, 1):
        if not words.strip():
            continue
        try:
            said = json.loads(words, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            yield Row(line, "", f"line {line}", problem=f"This is not JSON: {error}.")
            continue
        if isinstance(said, dict):
            yield _row(line, {name: value for name, value in said.items() if value is not None})
        else:
            yield Row(line, "", f"line {line}", problem="This is not a JSON object.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _row(line: int, said: Mapping[str, Any]) -> Row:
    file, key, label = said.get(FILE), said.get(KEY), said.get(LABEL)
    for name, value in ((FILE, file), (KEY, key), (LABEL, label)):
        if value is not None and not isinstance(value, str):
            return Row(line, "", f"line {line}", problem=f"The {name} is not text.")
    if not file:
        return Row(line, "", key or f"line {line}", problem=f"The row names no {FILE}.")
    given: Given = {} if label is None else {"label": label}
    fields = {name: value for name, value in said.items() if name not in (FILE, KEY, LABEL)}
    if fields:
        given["fields"] = fields
    return Row(line, file, key or file, given)
