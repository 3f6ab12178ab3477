"""Examples of a search: images to find and images to avoid, uploaded or of the catalogue."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, get_args

from app.common.json_values import is_storable
from app.errors import ImageRejectedError, InvalidExamplesError, InvalidInputError
from app.search.decode.image import Crop
from app.search.decode.prepare import ImagePreparer
from app.search.encode.batching import Encoder
from app.search.index import Code, Feature, Index

MAX_EXAMPLES = 16
# A key that could be an id is written with this prefix in text.
KEY_PREFIX = "key:"
MAX_ID = 2**63 - 1
_MAX_SHOWN = 100

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
            yield f"weights.{name}", f"has {len(values)} numbers for {count} images. Give one for each image."
        for at, value in enumerate(values):
            if not (math.isfinite(value) and value >= 0):
                yield f"weights.{name}.{at}", f"{value} is not a weight. Give a number of 0 or more."


@dataclass(frozen=True)
class Prepared:
    """An example that was decoded, or looked up.

    Attributes:
        identity: its id, or the SHA-256 of its bytes; None if there is no such image.
        encoded: waits for its code `(bits / 8,)` and F7 `(d,)`.
        error: what is wrong with it; empty if it can be used.
        warnings: flaws of its file, as sentences.
    """

    identity: int | str | None
    encoded: Callable[[], tuple[Code, Feature]]
    error: str = ""
    warnings: tuple[str, ...] = ()


def decode_uploads(
    examples: Sequence[Example], prepare: ImagePreparer, encoder: Encoder, crop: Crop | None
) -> dict[Example, Prepared]:
    """Decode the examples that are uploads; each is encoded while the next one is decoded.

    Raises:
        InvalidInputError: there is a crop, and not exactly one upload.
    """
    uploads = [(example, example.source) for example in examples if isinstance(example.source, Upload)]
    if crop is not None and len(uploads) != 1:
        raise InvalidInputError("crop", f"is a part of one upload, and {len(uploads)} are given. Leave it out.")
    return {example: _decode(upload, prepare, encoder, crop) for example, upload in uploads}


def _decode(upload: Upload, prepare: ImagePreparer, encoder: Encoder, crop: Crop | None) -> Prepared:
    data, name = upload.read(), f'"{upload.name[:_MAX_SHOWN]}": ' if upload.name else ""
    digest = hashlib.sha256(data).hexdigest()
    try:
        prepared = prepare(data, crop=crop)
    except ImageRejectedError as error:
        return Prepared(digest, _no_encoding, f"{name}{error.reason}")
    encoding = encoder.encode_one(prepared.image)
    warnings = tuple(f"{name}{warning.sentence}" for warning in prepared.warnings)
    return Prepared(digest, lambda: (encoding.result().codes[0], encoding.result().features[0]), warnings=warnings)


def _no_encoding() -> NoReturn:
    raise AssertionError("an example that cannot be used is never encoded")


def find_images(examples: Sequence[Example], index: Index, ids: Mapping[str, int]) -> dict[Example, Prepared]:
    """Look up the examples that are images of the catalogue.

    Args:
        examples: the examples; uploads are left out.
        index: index of the images.
        ids: ids of images by key.
    """
    return {
        example: _find(example.source, index, ids) for example in examples if not isinstance(example.source, Upload)
    }


def _find(source: int | str, index: Index, ids: Mapping[str, int]) -> Prepared:
    image_id = source if isinstance(source, int) else ids.get(source)
    found = index.find(image_id) if image_id is not None and 0 < image_id <= MAX_ID else None
    if found is not None:
        return Prepared(image_id, lambda: found)
    if isinstance(source, str):
        return Prepared(None, _no_encoding, f'there is no image with the key "{source[:_MAX_SHOWN]}" in the catalogue.')
    reason = (
        f"there is no image {source} in the catalogue. If it is a key, write {KEY_PREFIX}{source}, or text in JSON."
    )
    return Prepared(None, _no_encoding, reason)


def keys_of(examples: Sequence[Example]) -> list[str]:
    """Return the keys among the examples that an image can have."""
    return [example.source for example in examples if isinstance(example.source, str) and is_storable(example.source)]


def require_usable(prepared: Mapping[Example, Prepared]) -> None:
    """Check that all examples can be used, and that no image is to be found and to be avoided.

    Raises:
        InvalidExamplesError: some cannot be used; lists every one.
    """
    errors = {example.place: one.error for example, one in prepared.items() if one.error}
    liked = {one.identity: example.place for example, one in prepared.items() if not example.unlike}
    for example, one in prepared.items():
        if example.unlike and not one.error and one.identity in liked:
            errors[example.place] = f"is the same image as {liked[one.identity]}. Leave out one of the two."
    if errors:
        raise InvalidExamplesError(errors)
