"""Parse and name the images that a command is about."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from app.cli.terminal import fail, notice
from app.common.json_values import is_storable

T = TypeVar("T")
# Maximum number of keys that a message lists.
_MAX_LISTED = 5
# Images of one change: their ids fit into a request.
STEP = 50_000


@dataclass(frozen=True)
class Conditions:
    """Conditions that an image has to meet: a label, a filter as JSON, words; None is no condition."""

    label: str | None = None
    filter: str | None = None
    text: str | None = None


def require_selection(verb: str, keys: list[str] | None, conditions: Conditions, table: Path | None) -> None:
    """Exit with an error unless images are selected in exactly one way, and not every image by an empty filter."""
    if [bool(keys), conditions != Conditions(), table is not None].count(True) != 1:
        fail(f"Name what to {verb}: keys, or --label, --filter and --text, or --table. Give one of these kinds.")
    empty = conditions.filter is not None and not filter_object(conditions.filter)
    if empty and conditions.label is None and conditions.text is None:
        fail(f"Nothing was {verb}d: --filter {{}} selects every image. Name a condition.")
    if conditions.label is not None and not is_storable(conditions.label):
        fail(f"Nothing was {verb}d: no image matches.")


def filter_object(text: str) -> dict[str, object]:
    """Parse a filter as a JSON object; exit with an error if it is none."""
    try:
        wanted = json.loads(text)
    except (ValueError, RecursionError) as error:
        fail(f"--filter: not valid JSON: {error}.")
    if not isinstance(wanted, dict):
        fail('--filter: not a JSON object, such as {"price": {"$lt": 5}}.')
    return dict(wanted)


def table_keys(path: Path) -> list[str]:
    """Return the keys of a table's rows; exit with an error if it is no table."""
    from app.ingest.sources.table import SUFFIXES
    from app.ingest.sources.table_source import TableSource

    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        fail(f"{path} is not a table. Give the path of a .csv or .jsonl file.")
    return list(TableSource(path, limit=0).keys())


def report_missing(missing: list[str]) -> None:
    """Print which keys are not in the catalogue."""
    if missing:
        listed = ", ".join(missing[:_MAX_LISTED]) + (", …" if len(missing) > _MAX_LISTED else "")
        are = "key is" if len(missing) == 1 else "keys are"
        notice(f"{len(missing):,} {are} not in the catalogue: {listed}")


def images(count: int) -> str:
    """Return a number of images in words."""
    return f"{count:,} {'image' if count == 1 else 'images'}"


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists of a size."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
