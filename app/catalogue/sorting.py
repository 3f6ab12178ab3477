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
    Select,
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
# Orders that an index has, and all that are not by a metadata field.
INDEXED = ("added", "key")
_OWN = (*INDEXED, "label", "mixed")
_KINDS = {
    "number": Kind.NUMBER,
    "string": Kind.TEXT,
    "boolean": Kind.BOOLEAN,
    "array": Kind.OTHER,
    "object": Kind.OTHER,
}


@dataclass(frozen=True)
class ListedImage:
    """An image on a page: its id, the size of its metadata in bytes, and its position in the order."""

    id: int
    size: int
    position: Position


@dataclass(frozen=True)
class _Column:
    """An expression that an order compares, and its direction."""

    expression: ColumnElement[Any]
    descending: bool = False

    def after(self, value: object) -> Condition:
        """Build the condition that an image comes after a value."""
        return self.expression < value if self.descending else self.expression > value


def list_page(
    session: Session, sort: Sort, *, after: Position | None, limit: int, passing: Condition
) -> list[ListedImage]:
    """List the images after a position, or from the first on, that meet a condition."""
    found = _values(sort, passing).subquery()
    columns = _columns(sort, found.c.id, found.c.value)
    expressions = [column.expression for column in columns]
    selected = select(found.c.id, *expressions).where(true() if after is None else _after(columns, after))
    page = selected.order_by(*_directed(columns, expressions)).limit(limit).cte()
    # Sizes are computed for the page alone.
    size = select(func.octet_length(cast(Image.metadata_, Text))).where(Image.id == page.c.id).scalar_subquery()
    position = list(page.c)[1:]
    rows = session.execute(select(page.c.id, size, *position).order_by(*_directed(columns, position)))
    return [ListedImage(image_id, bytes_, tuple(values)) for image_id, bytes_, *values in rows]


def position_types(sort: Sort) -> tuple[type, ...]:
    """Return the types of a position's values; those before the last may be None."""
    own: dict[str, tuple[type, ...]] = {"added": (int,), "key": (str,), "mixed": (int, int), "label": (int, str, int)}
    return own.get(sort.field, (int, Decimal, str, int))


def _values(sort: Sort, passing: Condition) -> Select[Any]:
    """Select the matching images, and the value that the order is by."""
    value = Image.id if sort.field in ("added", "mixed") else field_value(sort.field)
    found = select(Image.id, value.label("value")).where(passing)
    # OFFSET keeps the planner from merging this into the query around it, which would read the field many times.
    return found if sort.field in _OWN else found.offset(0)


def _columns(sort: Sort, image_id: ColumnElement[int], value: ColumnElement[Any]) -> tuple[_Column, ...]:
    """Return what an order compares, the most significant first; ties are in the order of their addition."""
    falls = sort.descending
    match sort.field:
        case "added" | "key":
            return (_Column(value, falls),)
        case "mixed":
            return _Column(value % MIXED_IDS * MIXED_FACTOR % MIXED_MODULUS, falls), _Column(image_id)
        case "label":
            kind = case((value.is_(None), Kind.MISSING.value), else_=Kind.TEXT.value)
            return _Column(kind), _Column(_comparable(value), falls), _Column(image_id)
    json_type = func.jsonb_typeof(value, type_=Text)
    kind = case({name: kind.value for name, kind in _KINDS.items()}, value=json_type, else_=Kind.MISSING.value)
    # CASE, because casting other values fails.
    number = case((json_type == "number", cast(value, Numeric)))
    text = case((json_type != "number", _comparable(value.op("#>>")(literal([], ARRAY(Text))))))
    return _Column(kind), _Column(number, falls), _Column(text, falls), _Column(image_id)


def _comparable(text: ColumnElement[Any]) -> ColumnElement[str]:
    return func.left(func.lower(text), MAX_COMPARED)


def _directed(columns: Sequence[_Column], expressions: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    pairs = zip(columns, expressions, strict=True)
    return [expression.desc() if column.descending else expression for column, expression in pairs]


def _after(columns: Sequence[_Column], position: Position) -> Condition:
    """Build the condition that an image comes after a position: greater in the first column that differs."""
    known = [(column, value) for column, value in zip(columns, position, strict=True) if value is not None]
    return or_(
        *(
            and_(*(earlier.expression == equal for earlier, equal in known[:number]), column.after(value))
            for number, (column, value) in enumerate(known)
        )
    )
