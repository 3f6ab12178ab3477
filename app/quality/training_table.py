"""Labelled images from a table: which column is the label, or several of them, and which says what one product is."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.common.unicode_names import PathFinder, nfc
from app.errors import InvalidInputError
from app.ingest.sources.table import SUFFIXES, Row, Table, TableLimits
from app.quality.messages import listed, nearest_or_all
from models.data.dataset import LabelColumns, LabelledFiles

MAX_ROWS = 10_000_000
FILE, KEY, LABEL = "file", "key", "label"


def is_table(path: Path) -> bool:
    """Whether a path is named like a table."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read_training_table(path: Path, labels: Sequence[str], products: str | None) -> LabelledFiles:
    """Read the images of a table, with labels from some of its columns.

    An image without a value in the first column of labels is left out; in the others, values may be missing. So is an
    image with two values in one of the columns, and what is left out is noted.

    Args:
        path: CSV, TSV or JSON Lines, with the images' paths relative to its folder.
        labels: columns with labels; the first is the one that searches are measured by.
        products: column that is equal for images of one product; None if unknown.

    Raises:
        InvalidInputError: the table cannot be read, a column does not exist, or there are no two labels.
    """
    table = _read(path, [*labels, *([products] if products else [])])
    rows = table.usable(labels)
    if not rows:
        raise InvalidInputError(str(path), f"none of its images has a value in the column {labels[0]}")
    columns = [_numbered([row[name] for row in rows]) for name in labels]
    names, numbers = columns[0]
    if len(names) == 1:
        raise InvalidInputError(str(path), f"all values of {labels[0]} are {names[0]}. Training needs two or more")
    targets = np.stack([column for _, column in columns], axis=1)
    several = LabelColumns(tuple(labels), tuple(found for found, _ in columns), targets) if len(labels) > 1 else None
    of_product = _products([row[products] for row in rows]) if products else None
    files = tuple(Path(str(row[FILE])) for row in rows)
    return LabelledFiles(names, files, numbers, notes=tuple(table.notes), products=of_product, columns=several)


@dataclass
class _Images:
    """The images of a table: for each file, the values of each column with their lines; and notes."""

    values: dict[Path, dict[str, dict[str, int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def usable(self, labels: Sequence[str]) -> list[dict[str, str | None]]:
        """Return file and values of the images with one value in the first column and no two values in any."""
        rows: list[dict[str, str | None]] = []
        contradictions, unlabelled = list[str](), 0
        for path, values in self.values.items():
            two = next((name for name in labels if len(values.get(name, {})) > 1), None)
            if two is not None:
                shown = " and ".join(f"{value} (line {line})" for value, line in list(values[two].items())[:2])
                contradictions.append(f"{path.name} has two values of {two}: {shown}")
            elif not values.get(labels[0]):
                unlabelled += 1
            else:
                rows.append({FILE: str(path), **{name: next(iter(found), None) for name, found in values.items()}})
        if contradictions:
            self.notes.append(f"Images with contradicting labels are left out: {listed(contradictions)}.")
        if unlabelled:
            self.notes.append(f"{unlabelled:,} images without a value in {labels[0]} are left out.")
        return rows


def _read(path: Path, wanted: Sequence[str]) -> _Images:
    """Read the wanted columns of all rows whose files exist."""
    images, missing, unusable, columns = _Images(), list[str](), list[str](), set[str]()
    finder = PathFinder(path.parent)
    rows = 0
    for row in _rows(path):
        rows += 1
        values = _values(row)
        columns |= set(values)
        if row.problem is not None:
            unusable.append(f"line {row.line}: {row.problem.rstrip('.')}")
            continue
        found = finder.find(row.file)
        if not _is_file(found):
            missing.append(f"{row.file} (line {row.line})")
            continue
        image = images.values.setdefault(found, defaultdict(dict))
        for name in wanted:
            of_column = image.setdefault(name, {})
            if (value := values.get(name)) is not None:
                of_column.setdefault(value, row.line)
    if not rows:
        raise InvalidInputError(str(path), "has no rows")
    for name in wanted:
        if name not in columns:
            hint = nearest_or_all(name.casefold(), columns, "It has")
            raise InvalidInputError(str(path), f"has no column {name}, or no value in it. {hint}")
    if not images.values:
        raise InvalidInputError(
            str(path),
            f"none of its {rows:,} files exists in {path.parent.absolute()}, as {listed(missing or unusable)}",
        )
    if missing:
        images.notes.append(f"{len(missing):,} rows whose file does not exist are left out: {listed(missing)}.")
    if unusable:
        images.notes.append(f"{len(unusable):,} rows that cannot be used are left out: {listed(unusable)}.")
    return images


def _rows(path: Path) -> Iterator[Row]:
    kind = SUFFIXES[path.suffix.lower()]
    try:
        yield from Table(str(path), kind, lambda: path.open("rb"), TableLimits(MAX_ROWS))
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be read: {error.strerror}") from error


def _values(row: Row) -> dict[str, str]:
    """Return a row's values as text, by column."""
    metadata: Mapping[str, Any] = row.given.get("metadata") or {}
    label = row.given.get("label")
    texts = {name: _text(value) for name, value in metadata.items()}
    return {KEY: nfc(row.key), **({LABEL: nfc(label)} if label else {}), **texts}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return nfc(str(value))


def _numbered(values: Sequence[str | None]) -> tuple[tuple[str, ...], np.typing.NDArray[np.int64]]:
    """Return the sorted distinct values, and the number of each image's value, −1 if it is missing."""
    names = tuple(sorted({value for value in values if value is not None}))
    number = {name: at for at, name in enumerate(names)}
    return names, np.array([-1 if value is None else number[value] for value in values], np.int64)


def _products(values: Sequence[str | None]) -> np.typing.NDArray[np.int64]:
    """Number products; an image without a value is a product of its own."""
    names, numbers = _numbered(values)
    alone = np.flatnonzero(numbers < 0)
    numbers[alone] = len(names) + np.arange(len(alone))
    return numbers


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    # A name that no file can have, or a folder that may not be entered.
    except (OSError, ValueError):
        return False
