"""Machine-readable report of rejected entries: CSV, or JSON Lines if the file name ends in .jsonl or .ndjson."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from app.errors import InvalidInputError
from app.ingest.bulk import Outcome

COLUMNS = ("name", "key", "reason")
_JSON_SUFFIXES = (".jsonl", ".ndjson")

WriteRejection = Callable[[Outcome], None]


@contextmanager
def open_rejection_report(path: Path | None) -> Iterator[WriteRejection]:
    """Open the report; yields a function that writes one rejection. Without a path it does nothing.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        # Lone surrogates, which UTF-8 cannot represent, are written as escapes, as JSON does.
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise InvalidInputError("--rejections", f"{path} cannot be written: {error.strerror}") from error
    with file:
        yield _json_writer(file) if path.suffix.lower() in _JSON_SUFFIXES else _csv_writer(file)


def _json_writer(file: TextIO) -> WriteRejection:
    def write(outcome: Outcome) -> None:
        file.write(json.dumps(dict(zip(COLUMNS, _cells(outcome), strict=True)), ensure_ascii=False) + "\n")
        file.flush()

    return write


def _csv_writer(file: TextIO) -> WriteRejection:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)

    def write(outcome: Outcome) -> None:
        writer.writerow(_cells(outcome))
        file.flush()

    return write


def _cells(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.name, outcome.key, outcome.reason or ""
