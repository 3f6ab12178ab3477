"""Pages of images in an order (`app/search/sorting.py`): a page begins after the last image of the previous one.

So pages are exact while images are added and deleted. `added` and `key` are read from an index; any other order reads
all matching rows for each page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Numeric,
    SQLColumnExpression,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import Condition, field_value
from app.search.sorting import MAX_COMPARED, MIXED_FACTOR, MIXED_IDS, MIXED_MODULUS, Kind, Sort

# The values of an image by which an order compares it; None for those that its kind has not.
Position = tuple[int | str | Decimal | None, ...]
# Orders that an index has; the others are computed from all matching rows.
INDEXED = ("added", "key")
_KINDS = {
    "number": Kind.NUMBER,
    "string": Kind.TEXT,
    "boolean": Kind.BOOLEAN,
    "array": Kind.OTHER,
    "object": Kind.OTHER,
}
_SIZE = func.octet_length(cast(Image.metadata_, Text))


@dataclass(frozen=True)
class ListedImage:
    """An image on a page: its id, the size of its metadata in bytes, and its position in the order."""

    id: int
    size: int
    position: Position


@dataclass(frozen=True)
class SortColumn:
    """An expression that an order compares, its type in Python, and its direction."""

    expression: SQLColumnExpression[Any]
    type: type
    descending: bool = False

    def after(self, value: object) -> Condition:
        """Build the condition that an image comes after a value."""
        return self.expression < value if self.descending else self.expression > value


def list_page(
    session: Session, sort: Sort, *, after: Position | None, limit: int, passing: Condition
) -> list[ListedImage]:
    """List the images after a position, or from the first on, that meet a condition."""
    columns = sort_columns(sort)
    order = (column.expression.desc() if column.descending else column.expression for column in columns)
    query = select(Image.id, _SIZE, *(column.expression for column in columns))
    query = query.where(passing, true() if after is None else _after(columns, after)).order_by(*order).limit(limit)
    return [ListedImage(image_id, size, tuple(position)) for image_id, size, *position in session.execute(query)]


def sort_columns(sort: Sort) -> tuple[SortColumn, ...]:
    """Return what an order compares, the most significant first; ties are in the order of their addition."""
    by_id = SortColumn(Image.id, int)
    match sort.field:
        case "added":
            return (SortColumn(Image.id, int, sort.descending),)
        case "key":
            return (SortColumn(Image.key, str, sort.descending),)
        case "mixed":
            mixed = Image.id % MIXED_IDS * MIXED_FACTOR % MIXED_MODULUS
            return SortColumn(mixed, int, sort.descending), by_id
        case "label":
            label = Image.label
            kind = case((label.is_(None), Kind.MISSING.value), else_=Kind.TEXT.value)
            return SortColumn(kind, int), SortColumn(_comparable(label), str, sort.descending), by_id
        case _:
            return *_field_columns(sort), by_id


def _field_columns(sort: Sort) -> tuple[SortColumn, ...]:
    value = field_value(sort.field)
    json_type = func.jsonb_typeof(value, type_=Text)
    kind = case({name: kind.value for name, kind in _KINDS.items()}, value=json_type, else_=Kind.MISSING.value)
    # CASE, because casting other values fails.
    number = case((json_type == "number", cast(value, Numeric)))
    text = case((json_type != "number", _comparable(value.op("#>>")(literal([], ARRAY(Text))))))
    return SortColumn(kind, int), SortColumn(number, Decimal, sort.descending), SortColumn(text, str, sort.descending)


def _comparable(text: SQLColumnExpression[Any]) -> ColumnElement[str]:
    return func.left(func.lower(text), MAX_COMPARED)


def _after(columns: Sequence[SortColumn], position: Position) -> Condition:
    """Build the condition that an image comes after a position: greater in the first column that differs."""
    known = [(column, value) for column, value in zip(columns, position, strict=True) if value is not None]
    return or_(
        *(
            and_(*(earlier.expression == equal for earlier, equal in known[:number]), column.after(value))
            for number, (column, value) in enumerate(known)
        )
    )
