"""Encodings and CSV dialects of tables, as spreadsheets write them.

Excel separates cells by semicolons where commas are the decimal sign, by tabs in its Unicode text, and can name the
separator in a first line `sep=;`. Text is UTF-8 or UTF-16; other encodings cannot be recognised reliably.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TextIO

from app.common.unicode_names import nfc

FILE, KEY, LABEL = "file", "key", "label"
_NAMES = (FILE, KEY, LABEL)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<delimiter>\t|[^\w\s"])"?[,;\t\r\n]*', re.IGNORECASE)
# UTF-32 first, because its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Without a mark: the first character of a table is ASCII, so the other byte of its code unit is zero.
_UNMARKED = ((re.compile(rb"[^\0]\0", re.DOTALL), "utf-16-le"), (re.compile(rb"\0[^\0]", re.DOTALL), "utf-16-be"))
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
_BLOCK = 1 << 16


class BadColumnsError(Exception):
    """The first row of a table does not name its columns; the message says why."""


@dataclass(frozen=True)
class Dialect:
    """How the cells of a CSV table are separated.

    Attributes:
        delimiter: the character between two cells.
        columns: normalised names of the columns; unnamed ones are empty, those at the end are dropped.
        header: the number of the row that names the columns, from 0.
    """

    delimiter: str
    columns: tuple[str, ...]
    header: int

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers may be written with a comma."""
        return self.delimiter != ","

    @property
    def delimiter_name(self) -> str:
        """The name of the delimiter, in the plural."""
        return _DELIMITERS.get(self.delimiter, repr(self.delimiter))

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Split lines into rows; yield the number of each row's last line, and its trimmed cells."""
        return _split(lines, self.delimiter)


def open_text(file: BinaryIO) -> TextIO:
    """Decode a table's text. Lone surrogates are kept, so that they can be rejected with their row."""
    return io.TextIOWrapper(file, encoding=encoding(file), errors="surrogatepass", newline="")


def encoding(file: BinaryIO) -> str:
    """Detect the encoding of a file at its beginning."""
    head = file.read(4)
    file.seek(0)
    marked = (name for mark, name in _MARKS if head.startswith(mark))
    return next(marked, next((name for pattern, name in _UNMARKED if pattern.match(head)), "utf-8-sig"))


def describe_undecodable(file: BinaryIO) -> str:
    """Describe the first bytes of a file that its encoding cannot decode."""
    name, line = encoding(file), 1
    decoder = codecs.getincrementaldecoder(name)("surrogatepass")
    while block := file.read(_BLOCK):
        try:
            line += decoder.decode(block).count("\n")
        except UnicodeDecodeError as error:
            # The undecodable part begins in this block, after these lines.
            line += error.object[: error.start].count(b"\n")
            shown = error.object[error.start : error.start + 1].hex()
            return f"line {line}: byte 0x{shown} is not {_shown(name)}. Save the table as UTF-8 (Excel: CSV UTF-8)"
    return f"the last line ends within a character. Save the table as {_shown(name)} again"


def find_dialect(
    open_lines: Callable[[], Iterator[str]], max_columns: int, required: Sequence[str] = (FILE,)
) -> Dialect:
    """Find the delimiter for which the first row that is not blank names a required column.

    Args:
        open_lines: opens the table's lines at the beginning.
        max_columns: maximum number of columns.
        required: names of columns, of which the table must have one.

    Raises:
        BadColumnsError: there is none, there are more columns, or two columns have one name.
    """
    told = _SEPARATOR_LINE.fullmatch(next(open_lines(), ""))
    delimiters = [told["delimiter"]] if told else list(_DELIMITERS)
    found = [
        Dialect(delimiter, columns, number)
        for delimiter in delimiters
        for number, columns in _header(open_lines(), delimiter, skip=1 if told else 0)
        if not set(required).isdisjoint(columns)
    ]
    if not found:
        names = " or ".join(map(repr, required))
        raise BadColumnsError(f"has no column {names}. The first line must name the columns")
    dialect = max(found, key=lambda one: len(one.columns))
    if len(dialect.columns) > max_columns:
        raise BadColumnsError(f"has more than {max_columns:,} columns")
    repeated = [name for name, count in Counter(dialect.columns).items() if name and count > 1]
    if repeated:
        raise BadColumnsError(f"has two columns named {repeated[0]!r}. Rename one of them")
    return dialect


def column_name(name: str) -> str:
    """Normalise the name of a column: without surrounding spaces, in NFC, `file`, `key` and `label` in lower case."""
    trimmed = nfc(name.strip().strip("\ufeff").strip())
    return trimmed.lower() if trimmed.lower() in _NAMES else trimmed


def _split(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Split lines into rows; yield the number of each row's last line, and its trimmed cells.

    Raises:
        csv.Error: a quoted cell has no end, so that it would contain all rows that follow.
    """
    left, first = _Left(lines), 1
    reader = csv.reader(left, delimiter=delimiter, skipinitialspace=True)
    for cells in reader:
        # The reader asks for a line after the last one only to complete a row.
        if left.ended:
            raise csv.Error(f"line {first}: a quotation mark is not closed")
        yield reader.line_num, [cell.strip() for cell in cells]
        first = reader.line_num + 1


class _Left:
    """Iterates lines; `ended` is true once one after the last was asked for."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self.ended = iter(lines), False

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        self.ended = True


def _header(lines: Iterator[str], delimiter: str, skip: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the first row that is not blank, as its number and normalised names; nothing if it cannot be split."""
    try:
        for number, (_, cells) in enumerate(_split(lines, delimiter)):
            names = [column_name(cell) for cell in cells]
            if number >= skip and any(names):
                while not names[-1]:
                    names.pop()
                yield number, tuple(names)
                return
    except csv.Error:
        return


def _shown(encoding_name: str) -> str:
    return encoding_name.removesuffix("-sig").removesuffix("-le").removesuffix("-be").upper()
