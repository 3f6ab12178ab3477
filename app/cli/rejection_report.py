"""What was refused and why, as a file for programs: CSV, or JSON Lines where the file's name says so."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from app.errors import InvalidInputError
from app.ingest.bulk import Outcome

COLUMNS = ("name", "key", "reason")
_JSON = (".jsonl", ".ndjson")

Tell = Callable[[Outcome], None]


@contextmanager
def refusals(path: Path | None) -> Iterator[Tell]:
    """Opens the file, and yields what to tell each refusal; without a path nobody hears.

    Raises:
        InvalidInputError: there can be no such file.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInputError("--rejections", f"{path} cannot be written: {error.strerror}") from error
    with file:
        yield _json(file) if path.suffix.lower() in _JSON else _csv(file)


def _json(file: TextIO) -> Tell:
    def tell(outcome: Outcome) -> None:
        file.write(json.dumps(dict(zip(COLUMNS, _cells(outcome), strict=True)), ensure_ascii=False) + "\n")
        file.flush()

    return tell


def _csv(file: TextIO) -> Tell:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)

    def tell(outcome: Outcome) -> None:
        writer.writerow(_cells(outcome))
        file.flush()

    return tell


def _cells(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.name, outcome.key, outcome.reason or ""
