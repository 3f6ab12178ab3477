"""A table of files and their metadata: CSV, or JSON Lines.

The column `file` names a file, relative to the table's folder; `key` and `label` are the catalogue's; every other
column is metadata, and in JSON Lines so are the fields of an object `metadata`. Without a key, the file's name as it
stands in the table is the key.

CSV holds nothing but text, so the type of a column follows from all its values together: plain numbers (`-3`, `89.5`,
but neither `007` nor `1e5`, which are rather ids), `true` and `false`, or else text. An empty cell is left out. In JSON
Lines each value has its own type; null is left out.

Rows, columns and the length of a row are bounded, so that neither memory nor time grows faster than the table.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from app.common.json_values import merge_fields
from app.errors import InvalidInputError

if TYPE_CHECKING:
    from app.catalogue.changes import Given

FILE, KEY, LABEL, METADATA = "file", "key", "label", "metadata"
SUFFIXES = {".csv": "csv", ".jsonl": "json", ".ndjson": "json"}
# Larger whole numbers are rather names than numbers, and lose digits in many a reader of JSON.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")
_TRUTH = {"true": True, "false": False}

Open = Callable[[], TextIO]
Reading = Callable[[str], Any]


@dataclass(frozen=True)
class TableLimits:
    """How much of a table is taken.

    Attributes:
        rows: how many rows.
        columns: how many columns of CSV.
        characters: the longest row, from its first line to its last.
    """

    rows: int
    columns: int = 1000
    characters: int = 1_000_000


@dataclass(frozen=True)
class Row:
    """A row of a table; `problem` is why it cannot be used."""

    line: int
    file: str
    key: str
    given: "Given" = field(default_factory=dict)  # type: ignore[assignment]  # importing Given would import SQL
    problem: str | None = None


class Table:
    """The rows of a table, read again each time that they are iterated.

    Args:
        name: what its owner knows it by.
        kind: `csv` or `json`.
        open_: opens it from its beginning.
        limits: what is too large.
    """

    def __init__(self, name: str, kind: str, open_: Open, limits: TableLimits) -> None:
        self._name, self._kind, self._open, self._limits = name, kind, open_, limits
        self._readings: dict[str, Reading] | None = None

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows.

        Raises:
            InvalidInputError: this is no such table, or larger than the limits allow.
        """
        try:
            yield from self._csv_rows() if self._kind == "csv" else self._json_rows()
        except (csv.Error, UnicodeDecodeError) as error:
            raise self._refusal(f"cannot be read as a table: {error}") from error

    def _csv_rows(self) -> Iterator[Row]:
        readings = self._columns()
        for line, cells in self._cells():
            said = {name: readings[name](cell) for name, cell in cells.items() if cell}
            yield _row(line, said)

    def _columns(self) -> dict[str, Reading]:
        """Read the whole table once, to find the type of each column."""
        if self._readings is None:
            kinds: dict[str, set[str]] = {}
            for _, cells in self._cells():
                for name, cell in cells.items():
                    kinds.setdefault(name, set()).update({_kind(cell)} if cell else ())
            self._readings = {name: _reading(name, found) for name, found in kinds.items()}
        return self._readings

    def _cells(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield each row's line and its cells by column; cells beyond the last column are left out."""
        with self._open() as file:
            lines = _Lines(file, self._name, self._limits)
            reader = csv.reader(lines)
            columns = next(reader, [])
            if len(columns) > self._limits.columns:
                raise self._refusal(f"has more than {self._limits.columns:,} columns")
            if FILE not in columns:
                raise self._refusal(f"has no column {FILE!r} in its first line, which names the columns")
            lines.end_row(counts=False)
            for cells in reader:
                lines.end_row(counts=bool(cells))
                if cells:
                    yield reader.line_num, dict(zip(columns, cells, strict=False))

    def _json_rows(self) -> Iterator[Row]:
        # Counted before anything is made of them, as the rows of CSV are when its columns are read.
        for _ in self._json_lines():
            pass
        for line, words in self._json_lines():
            yield _json_row(line, words)

    def _json_lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines that are not blank, with their numbers."""
        with self._open() as file:
            lines = _Lines(file, self._name, self._limits)
            for line, words in enumerate(lines, 1):
                is_row = not words.isspace()
                lines.end_row(counts=is_row)
                if is_row:
                    yield line, words

    def _refusal(self, reason: str) -> InvalidInputError:
        return InvalidInputError(self._name, reason)


class _Lines:
    """The lines of a table, with a bound on the characters of a row and on the number of rows.

    Raises, when iterated:
        InvalidInputError: a row is longer.
    """

    def __init__(self, file: TextIO, name: str, limits: TableLimits) -> None:
        self._file, self._name, self._limits = file, name, limits
        self._left, self._line, self._rows = limits.characters, 0, 0

    def end_row(self, *, counts: bool) -> None:
        """Begin the next row; lines without content do not count as rows.

        Raises:
            InvalidInputError: there are too many rows.
        """
        self._left = self._limits.characters
        self._rows += int(counts)
        if self._rows > self._limits.rows:
            raise InvalidInputError(self._name, f"has more than {self._limits.rows:,} rows. Split it")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._line += 1
        line = self._file.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            longest = f"{self._limits.characters:,} characters, the most that is read"
            raise InvalidInputError(self._name, f"line {self._line}: the row has more than {longest}")
        if not line:
            raise StopIteration
        return line


def _kind(cell: str) -> str:
    if _NUMBER.fullmatch(cell):
        return "number"
    return "truth" if cell in _TRUTH else "text"


def _reading(name: str, kinds: set[str]) -> Reading:
    if name in (FILE, KEY, LABEL) or len(kinds) != 1:
        return str
    return {"number": json.loads, "truth": _TRUTH.__getitem__}.get(kinds.pop(), str)


def _json_row(line: int, words: str) -> Row:
    try:
        said = json.loads(words, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Row(line, "", f"line {line}", problem=f"This is not JSON: {error}.")
    if not isinstance(said, dict):
        return Row(line, "", f"line {line}", problem="This is not a JSON object.")
    return _row(line, {name: value for name, value in said.items() if value is not None})


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
    metadata = {name: value for name, value in said.items() if name not in (FILE, KEY, LABEL)}
    if isinstance(metadata.get(METADATA), dict):
        try:
            metadata = merge_fields(metadata, metadata.pop(METADATA))
        except ValueError as error:
            return Row(line, file, key or file, problem=f"This row cannot be used: {error}.")
    if metadata:
        given["metadata"] = metadata
    return Row(line, file, key or file, given)
