"""Export keys, labels and metadata as a table, in one snapshot and with constant memory.

`lookalike index EXPORT FOLDER` reads it back. JSON Lines keep every value; CSV is for spreadsheets, so it has a
byte order mark, and the types of its columns are those that the reader of tables infers. Cells are written as they are:
a text that begins with `=` is a formula to a spreadsheet.
"""

import csv
import io
import json
from collections.abc import Callable, Generator
from contextlib import closing
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.selection import Selection
from app.common.json_values import normalise_metadata
from app.errors import InvalidInputError

# Columns besides metadata, and their names in lower case that metadata cannot have in CSV.
_COLUMNS, _RESERVED = ("key", "label"), ("key", "label", "file")
# The reader of tables has this limit.
_MAX_COLUMNS = 1000
_Write = Callable[[str, str | None, dict[str, Any]], None]
# Rows fetched at a time, whose metadata may be large, and characters written at a time.
_ROWS, _CHARACTERS = 32, 65_536


class ExportFormat(StrEnum):
    """Format of an export."""

    JSONL = "jsonl"
    CSV = "csv"


def export(database: Database, selection: Selection, format_: ExportFormat) -> Generator[str]:
    """Yield the text of an export, in the order in which the images were added.

    The first part is yielded once the export is known to succeed, unless the database fails; the snapshot is held until
    the iterator is exhausted or closed.

    Raises:
        InvalidInputError: metadata has fields that cannot be columns of a CSV table.
        UnavailableError: the database is unavailable.
    """
    with database.snapshot() as session:
        buffer = io.StringIO(newline="")
        write = _csv_writer(session, selection, buffer) if format_ is ExportFormat.CSV else _json_writer(buffer)
        query = select(Image.key, Image.label, Image.metadata_).where(selection.condition).order_by(Image.id)
        with closing(session.execute(query, execution_options={"yield_per": _ROWS})) as images:
            for image in images:
                write(*image)
                if buffer.tell() >= _CHARACTERS:
                    yield _taken(buffer)
        yield _taken(buffer)


def _json_writer(buffer: io.StringIO) -> _Write:
    def write(key: str, label: str | None, metadata: dict[str, Any]) -> None:
        fields = {"key": key, "label": label, "metadata": normalise_metadata(metadata)}
        json.dump(
            {name: value for name, value in fields.items() if value not in (None, {})}, buffer, ensure_ascii=False
        )
        buffer.write("\n")

    return write


def _csv_writer(session: Session, selection: Selection, buffer: io.StringIO) -> _Write:
    names = _field_names(session, selection)
    buffer.write("\ufeff")
    table = csv.writer(buffer)
    table.writerow([*_COLUMNS, *names])

    def write(key: str, label: str | None, metadata: dict[str, Any]) -> None:
        table.writerow([key, label or "", *(_cell(metadata.get(name)) for name in names)])

    return write


def _field_names(session: Session, selection: Selection) -> list[str]:
    """Return the names of all metadata fields, in alphabetical order.

    Raises:
        InvalidInputError: they cannot be columns: too many, or reserved, empty or equal but for spaces.
    """
    advice = "Use JSON Lines (format=jsonl)"
    fields = select(func.jsonb_object_keys(Image.metadata_).label("name")).where(selection.condition).subquery()
    names = list(session.scalars(select(fields.c.name).distinct().limit(_MAX_COLUMNS + 1)))
    if len(names) + len(_COLUMNS) > _MAX_COLUMNS:
        raise InvalidInputError(
            "format", f"csv has at most {_MAX_COLUMNS:,} columns, and the images have more. {advice}"
        )
    columns = [name.strip() for name in names]
    for name, column in zip(names, columns, strict=True):
        if not column or column.lower() in _RESERVED or columns.count(column) > 1:
            raise InvalidInputError("format", f"csv cannot have a metadata field named {name!r} as a column. {advice}")
    return sorted(names)


def _cell(value: Any) -> str:
    """Return a value as the text of a cell: text as it is, other values as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
