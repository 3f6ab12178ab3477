"""Parse a table of image files and their metadata: CSV or JSON Lines.

The column `file` is a path relative to the table's folder; `key` and `label` are optional; every other column is
metadata, and in JSON Lines so are the fields of an object `metadata`. The default key is the value of `file`.

The type of a CSV column is inferred from all its values: numbers (`-3`, `89.5`, but neither `007` nor `1e5`, which are
probably ids), booleans (`true`, `false`), or else text. Empty cells are omitted. In JSON Lines each value has its own
type; null is omitted.

Rows, columns and the length of a row are bounded, so that memory and time are linear in the size of the table.
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
    from app.catalogue.changes import MetadataPatch

FILE, KEY, LABEL, METADATA = "file", "key", "label", "metadata"
SUFFIXES = {".csv": "csv", ".jsonl": "json", ".ndjson": "json"}
# Longer integers are probably ids, and lose digits in many JSON parsers.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")
_BOOLEANS = {"true": True, "false": False}

Open = Callable[[], TextIO]
Converter = Callable[[str], Any]


@dataclass(frozen=True)
class TableLimits:
    """Limits on a table.

    Attributes:
        rows: maximum number of rows.
        columns: maximum number of CSV columns.
        characters: maximum length of a row, over all its lines.
    """

    rows: int
    columns: int = 1000
    characters: int = 1_000_000


@dataclass(frozen=True)
class Row:
    """A row of a table; `problem` is set if it cannot be used."""

    line: int
    file: str
    key: str
    given: "MetadataPatch" = field(default_factory=dict)  # type: ignore[assignment]  # importing Given would import SQL
    problem: str | None = None


class Table:
    """The rows of a table; each iteration reads it again.

    Args:
        name: its name in messages.
        kind: `csv` or `json`.
        open_: opens it at its beginning.
        limits: its limits.
    """

    def __init__(self, name: str, kind: str, open_: Open, limits: TableLimits) -> None:
        self._name, self._kind, self._open, self._limits = name, kind, open_, limits
        self._converters: dict[str, Converter] | None = None

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows.

        Raises:
            InvalidInputError: the table cannot be parsed, or exceeds a limit.
        """
        try:
            yield from self._csv_rows() if self._kind == "csv" else self._json_rows()
        except (csv.Error, UnicodeDecodeError) as error:
            raise self._error(f"cannot be read as a table: {error}") from error

    def _csv_rows(self) -> Iterator[Row]:
        converters = self._columns()
        for line, cells in self._cells():
            fields = {name: converters[name](cell) for name, cell in cells.items() if cell}
            yield _row(line, fields)

    def _columns(self) -> dict[str, Converter]:
        """Infer the type of each column, in one pass over the table."""
        if self._converters is None:
            kinds: dict[str, set[str]] = {}
            for _, cells in self._cells():
                for name, cell in cells.items():
                    kinds.setdefault(name, set()).update({_kind(cell)} if cell else ())
            self._converters = {name: _converter(name, found) for name, found in kinds.items()}
        return self._converters

    def _cells(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield each row's line number and its cells by column; extra cells are ignored."""
        with self._open() as file:
            lines = _Lines(file, self._name, self._limits)
            reader = csv.reader(lines)
            columns = next(reader, [])
            if len(columns) > self._limits.columns:
                raise self._error(f"has more than {self._limits.columns:,} columns")
            if FILE not in columns:
                raise self._error(f"has no column {FILE!r}. The first line must name the columns")
            lines.end_row(counts=False)
            for cells in reader:
                lines.end_row(counts=bool(cells))
                if cells:
                    yield reader.line_num, dict(zip(columns, cells, strict=False))

    def _json_rows(self) -> Iterator[Row]:
        # Check the limits before yielding any row, as the pass over CSV columns does.
        for _ in self._json_lines():
            pass
        for line, words in self._json_lines():
            yield _json_row(line, words)

    def _json_lines(self) -> Iterator[tuple[int, str]]:
        """Yield non-blank lines with their numbers."""
        with self._open() as file:
            lines = _Lines(file, self._name, self._limits)
            for line, words in enumerate(lines, 1):
                is_row = not words.isspace()
                lines.end_row(counts=is_row)
                if is_row:
                    yield line, words

    def _error(self, reason: str) -> InvalidInputError:
        return InvalidInputError(self._name, reason)


class _Lines:
    """The lines of a table, with limits on the length and the number of rows.

    Iterating raises:
        InvalidInputError: a row is too long.
    """

    def __init__(self, file: TextIO, name: str, limits: TableLimits) -> None:
        self._file, self._name, self._limits = file, name, limits
        self._left, self._line, self._rows = limits.characters, 0, 0

    def end_row(self, *, counts: bool) -> None:
        """End a row; `counts` is False for blank lines.

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
            limit = f"{self._limits.characters:,} characters"
            raise InvalidInputError(self._name, f"line {self._line}: the row has more than {limit}")
        if not line:
            raise StopIteration
        return line


def _kind(cell: str) -> str:
    if _NUMBER.fullmatch(cell):
        return "number"
    return "boolean" if cell in _BOOLEANS else "text"


def _converter(name: str, kinds: set[str]) -> Converter:
    if name in (FILE, KEY, LABEL) or len(kinds) != 1:
        return str
    return {"number": json.loads, "boolean": _BOOLEANS.__getitem__}.get(kinds.pop(), str)


def _json_row(line: int, words: str) -> Row:
    try:
        fields = json.loads(words, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Row(line, "", f"line {line}", problem=f"Not valid JSON: {error}.")
    if not isinstance(fields, dict):
        return Row(line, "", f"line {line}", problem="Not a JSON object.")
    return _row(line, {name: value for name, value in fields.items() if value is not None})


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _row(line: int, fields: Mapping[str, Any]) -> Row:
    file, key, label = fields.get(FILE), fields.get(KEY), fields.get(LABEL)
    for name, value in ((FILE, file), (KEY, key), (LABEL, label)):
        if value is not None and not isinstance(value, str):
            return Row(line, "", f"line {line}", problem=f"The value of {name!r} is not text.")
    if not file:
        return Row(line, "", key or f"line {line}", problem=f"The row has no {FILE!r}.")
    given: MetadataPatch = {} if label is None else {"label": label}
    metadata = {name: value for name, value in fields.items() if name not in (FILE, KEY, LABEL)}
    if isinstance(metadata.get(METADATA), dict):
        try:
            metadata = merge_fields(metadata, metadata.pop(METADATA))
        except ValueError as error:
            return Row(line, file, key or file, problem=f"The metadata is ambiguous: {error}.")
    if metadata:
        given["metadata"] = metadata
    return Row(line, file, key or file, given)
