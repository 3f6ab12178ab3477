"""The order of images by a field: the parameter `sort`, and the order of search results.

Keys are in the order of their characters. Of a label or metadata field, numbers come first, then texts regardless of
case, booleans, lists and objects by their JSON, and images without the field. Descending order reverses the values of
each kind, not the order of the kinds. `app/catalogue/sorting.py` is the same order in SQL.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from app.common.json_values import is_storable
from app.common.unicode_names import nfc
from app.errors import InvalidInputError

T = TypeVar("T")
# Id, key, label and metadata of an image.
Fields = tuple[int, str, str | None, Mapping[str, Any]]
# Characters of a text that are compared.
MAX_COMPARED = 512
# The mixed order is by `id * MIXED_FACTOR` modulo 2^32. The factor is 2^32 divided by the golden ratio, which spreads
# consecutive ids evenly, so that the first images come from all parts of the catalogue.
MIXED_FACTOR, MIXED_IDS, MIXED_MODULUS = 2_654_435_769, 2**31, 2**32


class Kind(IntEnum):
    """Kinds of values, in their order."""

    NUMBER = 0
    TEXT = 1
    BOOLEAN = 2
    OTHER = 3
    MISSING = 4


@dataclass(frozen=True)
class Sort:
    """An order of images.

    Attributes:
        field: `added`, `key`, `mixed`, `label` or a metadata field.
        descending: whether values descend.
    """

    field: str = "added"
    descending: bool = False

    @property
    def text(self) -> str:
        """The parameter's value."""
        return f"{'-' if self.descending else ''}{self.field}"


ADDED = Sort()


def parse_sort(text: str) -> Sort:
    """Parse the parameter `sort`: a field, with a leading `-` for descending order.

    Raises:
        InvalidInputError: it names no field.
    """
    field = nfc(text.removeprefix("-"))
    if not field or not is_storable(field):
        raise InvalidInputError("sort", "names no field. Use `added`, `key`, `label`, `mixed` or a metadata field")
    return Sort(field, text.startswith("-"))


def sorted_images(sort: Sort, images: Sequence[T], read: Callable[[T], Fields]) -> list[T]:
    """Sort images by a field; those with equal values stay in their order.

    Args:
        sort: the order.
        images: the images.
        read: returns the fields of an image.
    """
    values = [_comparable(sort.field, *read(image)) for image in images]
    order = sorted(range(len(images)), key=lambda position: values[position][1:], reverse=sort.descending)
    return [images[position] for position in sorted(order, key=lambda position: values[position][0])]


def _comparable(
    field: str, image_id: int, key: str, label: str | None, metadata: Mapping[str, Any]
) -> tuple[Kind, float, str]:
    """Return the kind of an image's value, and the number or text that is compared within its kind."""
    own = {"added": image_id, "mixed": image_id % MIXED_IDS * MIXED_FACTOR % MIXED_MODULUS, "label": label}
    value = own[field] if field in own else metadata.get(field)
    if field == "key":
        return Kind.TEXT, 0, key
    if value is None:
        return Kind.MISSING, 0, ""
    if isinstance(value, bool | int | float):
        return Kind.BOOLEAN if isinstance(value, bool) else Kind.NUMBER, value, ""
    is_text = isinstance(value, str)
    text = value if is_text else json.dumps(value, ensure_ascii=False)
    return Kind.TEXT if is_text else Kind.OTHER, 0, text.lower()[:MAX_COMPARED]
