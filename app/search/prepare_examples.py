"""Decode uploaded examples and look up those of the catalogue."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from app.common.json_values import MAX_ID, is_storable
from app.errors import ImageRejectedError, InvalidExamplesError, InvalidInputError
from app.search.decode.image import Crop
from app.search.decode.prepare import ImagePreparer
from app.search.encode.batching import Encoder
from app.search.examples import KEY_PREFIX, Example, Upload
from app.search.index import Code, Feature, Index

# Maximum characters of a file name or key in a message.
_MAX_SHOWN = 100


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
    encoding = encoder.encode_one(prepared.pixels)
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
