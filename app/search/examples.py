"""Examples of a search: images to find and images to avoid, uploaded or of the catalogue."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from app.common.json_values import MAX_ID
from app.errors import InvalidExamplesError, InvalidInputError

MAX_EXAMPLES = 16
# A key that could be an id is written with this prefix in text.
KEY_PREFIX = "key:"

Field = Literal["image", "like", "unlike_image", "unlike"]
FIELDS: tuple[Field, ...] = get_args(Field)


@dataclass(frozen=True)
class Upload:
    """An uploaded image.

    Attributes:
        name: its file name, for messages; may be empty.
        read: returns its bytes; may be called again.
    """

    name: str
    read: Callable[[], bytes]


# An upload, or an image of the catalogue by id or key.
Source = Upload | int | str


@dataclass(frozen=True)
class Example:
    """An image to find, or to avoid.

    Attributes:
        field: the field that has it.
        position: its position in the field, from 0.
        source: the image.
        weight: its weight among the examples to find, or among those to avoid; 0 or more.
    """

    field: Field
    position: int
    source: Source
    weight: float = 1.0

    @property
    def place(self) -> str:
        """Its field and position, such as `like.0`."""
        return f"{self.field}.{self.position}"

    @property
    def unlike(self) -> bool:
        """Whether it is to be avoided."""
        return self.field in ("unlike_image", "unlike")


def parse_reference(text: str) -> int | str:
    """Parse an image's id or key: a whole number is an id, unless `key:` is before it."""
    if text.startswith(KEY_PREFIX):
        return text.removeprefix(KEY_PREFIX)
    is_id = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID)) and int(text) <= MAX_ID
    return int(text) if is_id else text


def make_examples(sources: Mapping[Field, Sequence[Source]], weights: Mapping[Field, Sequence[float]]) -> list[Example]:
    """Combine images and weights.

    Args:
        sources: images of each field.
        weights: a weight for each image of a field; a field that is left out has weights of 1.

    Raises:
        InvalidExamplesError: weights are not valid; lists every one.
        InvalidInputError: there is no image to find, or there are too many, or all weights of a side are 0.
    """
    count = sum(map(len, sources.values()))
    if not sources.get("image") and not sources.get("like"):
        raise InvalidInputError(
            "image", "is missing. Send an image, or ids or keys of images of the catalogue as like."
        )
    if count > MAX_EXAMPLES:
        raise InvalidInputError("like", f"{count} examples are given, but a search takes {MAX_EXAMPLES} altogether.")
    if reasons := dict(_weight_errors(sources, weights)):
        raise InvalidExamplesError(reasons)
    examples = [
        Example(name, at, source, weights[name][at] if name in weights else 1.0)
        for name in FIELDS
        for at, source in enumerate(sources.get(name, ()))
    ]
    for unlike in (False, True):
        side = [example.weight for example in examples if example.unlike == unlike]
        if side and not any(side):
            what = "avoided" if unlike else "found"
            raise InvalidInputError(
                "weights", f"are 0 for all images to be {what}. Give one of them a positive weight."
            )
    return examples


def _weight_errors(
    sources: Mapping[Field, Sequence[Source]], weights: Mapping[Field, Sequence[float]]
) -> Iterator[tuple[str, str]]:
    for name, values in weights.items():
        if (count := len(sources.get(name, ()))) != len(values):
            yield f"weights.{name}", f"numbers: {len(values)}, images: {count}. Give one number for each image."
        for at, value in enumerate(values):
            if not (math.isfinite(value) and value >= 0):
                yield f"weights.{name}.{at}", f"{value} is not a weight. Give a number of 0 or more."
