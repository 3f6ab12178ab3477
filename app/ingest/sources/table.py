r"""Parse a table of image files and their metadata: CSV or JSON Lines.

The column `file` is a path relative to the table's folder; `key` and `label` are optional; every other column is
metadata, and in JSON Lines so are the fields of an object `metadata`. The default key is the value of `file`, with `/`
for `\`. Without a column `file`, as in an export, the key is the path. The names of these three may be written in any
case.

The type of a CSV column is inferred from all its values: numbers (`-3`, `89.5`, but neither `007` nor `1e5`, which are
probably ids), booleans (`true`, `false`, in any case), or else text. Where cells are not separated by commas, `89,5` is
a number too. Empty cells are omitted, and rows of empty cells are left out. In JSON Lines each value has its own type;
null is omitted.

Rows, columns and the length of a row are bounded, so that memory and time are linear in the size of the table.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, NoReturn, TextIO

from app.catalogue.metadata_patch import MetadataPatch
from app.common.json_values import has_surrogate, merge_fields
from app.errors import InvalidInputError
from app.ingest.sources.table_dialect import (
    FILE,
    KEY,
    LABEL,
    BadColumnsError,
    Dialect,
    column_name,
    describe_undecodable,
    find_dialect,
    open_text,
)

METADATA = "metadata"
SUFFIXES = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json"}
# Longer integers are probably ids, and lose digits in many JSON parsers.
_INTEGER = r"-?(0|[1-9]\d{0,14})"
_FORMS = {
    "number": re.compile(_INTEGER + r"(\.\d+)?", re.ASCII),
    "decimal comma": re.compile(_INTEGER + r"(,\d+)?", re.ASCII),
    "boolean": re.compile("true|false", re.ASCII | re.IGNORECASE),
}

# No float has more; Python refuses to convert thousands.
_MAX_DIGITS = 320

Open = Callable[[], BinaryIO]
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
    given: MetadataPatch = field(default_factory=MetadataPatch)
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
        self._dialect: Dialect | None = None
        self._converters: list[Converter] = []

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows.

        Raises:
            InvalidInputError: the table cannot be parsed, or exceeds a limit.
        """
        try:
            yield from self._csv_rows() if self._kind == "csv" else self._json_rows()
        except UnicodeError as error:
            with self._open() as file:
                raise self._error(describe_undecodable(file)) from error
        except BadColumnsError as error:
            raise self._error(str(error)) from error
        except csv.Error as error:
            raise self._error(f"cannot be read as a table: {error}") from error

    def _csv_rows(self) -> Iterator[Row]:
        dialect = self._find_columns()
        for line, cells in self._cells(dialect):
            if problem := _misfit(cells, dialect):
                yield _unusable_row(line, dict(zip(dialect.columns, cells, strict=False)), problem)
                continue
            columns = zip(dialect.columns, self._converters, cells, strict=False)
            yield self._row(line, {name: convert(cell) for name, convert, cell in columns if cell})

    def _find_columns(self) -> Dialect:
        """Find the dialect, and infer the type of each column, in one pass over the table."""
        if self._dialect is None:
            dialect = find_dialect(self._lines, self._limits.columns, (FILE, KEY))
            unused = set() if dialect.decimal_comma else {"decimal comma"}
            forms = [set(_FORMS) - unused for _ in dialect.columns]
            for _, cells in self._cells(dialect):
                if not _misfit(cells, dialect):
                    for possible, cell in zip(forms, cells, strict=False):
                        if cell:
                            possible -= {name for name in possible if not _FORMS[name].fullmatch(cell)}
            columns = zip(dialect.columns, forms, strict=True)
            self._dialect, self._converters = dialect, [_converter(name, possible) for name, possible in columns]
        return self._dialect

    def _cells(self, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
        """Yield the trimmed cells of each row below the header that is not blank, and its line number."""
        with self._open_text() as file:
            lines = _Lines(file, self._name, self._limits)
            for number, (line, cells) in enumerate(dialect.rows(lines)):
                is_row = number > dialect.header and any(cells)
                lines.end_row(counts=is_row)
                if is_row:
                    yield line, cells

    def _json_rows(self) -> Iterator[Row]:
        # Check the limits before yielding any row, as the pass over CSV columns does.
        for _ in self._json_lines():
            pass
        for line, words in self._json_lines():
            fields = _json_fields(line, words)
            yield fields if isinstance(fields, Row) else self._row(line, fields)

    def _json_lines(self) -> Iterator[tuple[int, str]]:
        """Yield non-blank lines with their numbers."""
        with self._open_text() as file:
            lines = _Lines(file, self._name, self._limits)
            for line, words in enumerate(lines, 1):
                is_row = not words.isspace()
                lines.end_row(counts=is_row)
                if is_row:
                    yield line, words

    def _row(self, line: int, fields: Mapping[str, Any]) -> Row:
        row, columns = _row(line, fields), self._dialect.columns if self._dialect else ()
        if row.file or row.problem is not None:
            return row
        if row.key and FILE not in columns:
            return replace(row, file=row.key)
        return _unusable_row(line, fields, f"The row has no {FILE!r}.")

    def _lines(self) -> Iterator[str]:
        with self._open_text() as file:
            yield from _Lines(file, self._name, self._limits)

    def _open_text(self) -> TextIO:
        return open_text(self._open())

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


def _misfit(cells: Sequence[str], dialect: Dialect) -> str | None:
    """Return why the cells of a row do not fit the columns, or None; empty cells at the end are ignored."""
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    if count > len(dialect.columns):
        return (
            f"The row has {count:,} values for {len(dialect.columns):,} columns. "
            f"Quote values that contain {dialect.delimiter_name}."
        )
    for number, (name, cell) in enumerate(zip(dialect.columns, cells, strict=False), 1):
        if cell and not name:
            return f"The row has a value in column {number}, which has no name. Name the column, or remove it."
    return None


def _converter(name: str, forms: set[str]) -> Converter:
    if name in (FILE, KEY, LABEL):
        return str
    if "number" in forms:
        return json.loads
    if "decimal comma" in forms:
        return lambda cell: json.loads(cell.replace(",", "."))
    return (lambda cell: cell.lower() == "true") if "boolean" in forms else str


def _json_fields(line: int, words: str) -> dict[str, Any] | Row:
    """Parse a line of JSON; return its fields, or a row that cannot be used."""
    try:
        fields = json.loads(words, parse_constant=_no_constant, parse_int=_integer, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        return Row(line, "", f"line {line}", problem=f"Not valid JSON: {error}.")
    if not isinstance(fields, dict):
        return Row(line, "", f"line {line}", problem="Not a JSON object.")
    named = [(column_name(name), value) for name, value in fields.items() if value is not None]
    if len(dict(named)) < len(named):
        return _unusable_row(line, dict(named), "Two fields of the row have the same name.")
    return dict(named)


def _distinct(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(fields)
    if len(found) < len(fields):
        raise ValueError("two fields of an object have the same name")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _row(line: int, fields: Mapping[str, Any]) -> Row:
    file, label = fields.get(FILE, ""), fields.get(LABEL)
    for name in (FILE, KEY, LABEL):
        if not isinstance(fields.get(name, ""), str):
            return _unusable_row(line, fields, f"The value of {name!r} is not text.")
    if has_surrogate(file):
        return _unusable_row(line, fields, f"The value of {FILE!r} contains half a character (a lone surrogate).")
    given: MetadataPatch = {} if label is None else {"label": label}
    metadata = {name: value for name, value in fields.items() if name not in (FILE, KEY, LABEL)}
    if isinstance(metadata.get(METADATA), dict):
        try:
            metadata = merge_fields(metadata, metadata.pop(METADATA))
        except ValueError as error:
            return _unusable_row(line, fields, f"The metadata is ambiguous: {error}.")
    if metadata:
        given["metadata"] = metadata
    return Row(line, file, fields.get(KEY) or file.replace("\\", "/"), given)


def _unusable_row(line: int, fields: Mapping[str, Any], problem: str) -> Row:
    """Return a row that cannot be used, with its file and key as far as they are known."""
    file, key = (value if isinstance(value := fields.get(name), str) else "" for name in (FILE, KEY))
    return Row(line, file, key or file or f"line {line}", problem=problem)
