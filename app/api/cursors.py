"""Cursors of lists of images in any order: the position of a page's last image, as an opaque text.

In the order of addition, a cursor is the last image's id.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from decimal import Decimal
from hashlib import blake2s
from typing import Annotated, Any

from fastapi import Query

from app.catalogue.sorting import Position, position_types
from app.common.json_values import MAX_ID, is_storable
from app.errors import InvalidInputError
from app.search.sorting import ADDED, Sort

ListCursor = Annotated[
    str | None, Query(max_length=8192, description="`next_cursor` of the previous page, which has the same `sort`.")
]
# A float or whole number of metadata, written out.
_NUMBER = re.compile(r"-?\d{1,400}(\.\d{1,400})?", re.ASCII)


def encode_cursor(sort: Sort, position: Position) -> str:
    """Return the cursor of the page after a position."""
    if sort == ADDED:
        return str(position[0])
    values = [format(value, "f") if isinstance(value, Decimal) else value for value in position]
    text = json.dumps([_digest(sort), *values], ensure_ascii=False)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(sort: Sort, cursor: str | None) -> Position | None:
    """Return the position after which a page begins; None for the first page.

    Raises:
        InvalidInputError: the cursor is not valid, or belongs to another order.
    """
    if cursor is None:
        return None
    try:
        return _decoded(sort, cursor)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            "cursor", f"is not one of `sort={sort.text}`. Use `next_cursor` of the previous page, with the same `sort`"
        ) from error


def _decoded(sort: Sort, cursor: str) -> Position:
    if sort == ADDED:
        values = [int(cursor) if cursor.isascii() and cursor.isdigit() else None]
    else:
        decoded = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(decoded, list) or decoded[:1] != [_digest(sort)]:
            raise ValueError("another order")
        values = decoded[1:]
    position = tuple(_value(kind, value) for kind, value in zip(position_types(sort), values, strict=True))
    if position[-1] is None:
        raise ValueError("no last column")
    return position


def _value(kind: type, value: Any) -> int | str | Decimal | None:
    """Return a value of a position; None if the image has none.

    Raises:
        ValueError: it is of another type, or too large for the database.
    """
    match value:
        case None:
            return None
        case bool():
            pass
        case int() if kind is int and abs(value) <= MAX_ID:
            return value
        case str() if kind is str and is_storable(value):
            return value
        case str() if kind is Decimal and _NUMBER.fullmatch(value):
            return Decimal(value)
    raise ValueError("not a value of this order")


def _digest(sort: Sort) -> str:
    return blake2s(sort.text.encode(), digest_size=6).hexdigest()
