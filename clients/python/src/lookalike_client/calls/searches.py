"""The search with one or several examples."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from lookalike_client.errors import InvalidInputError
from lookalike_client.images import ImageInput, Savable, read_image
from lookalike_client.requests import CallFlow, Request, parameters_of
from lookalike_client.results import SearchResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Unpack

    from lookalike_client.requests import SearchOptions

# An image of the catalogue by id (int) or key (str), or an image to upload: a `Path`, bytes, or a Pillow image.
Example = int | str | PathLike[str] | bytes | Savable
Side = Literal["image", "like", "unlike"]
# The field of a side's images that are uploaded.
_UPLOADED: dict[Side, str] = {"image": "image", "like": "image", "unlike": "unlike_image"}
_SEARCH = TypeAdapter(SearchResult)


def search(
    image: ImageInput | None = None,
    *,
    like: Sequence[Example] = (),
    unlike: Sequence[Example] = (),
    weights: Mapping[Side, Sequence[float]] | None = None,
    crop: tuple[int, int, int, int] | None = None,
    **options: Unpack[SearchOptions],
) -> CallFlow[SearchResult]:
    """Search with an image, or with up to 16 examples together.

    Args:
        image: an image to find: a path, bytes, or a Pillow image.
        like: further images to find: ids (int) or keys (str) of the catalogue, and images as `Path`, bytes or Pillow.
        unlike: images to avoid, as in `like`.
        weights: weights of the images, such as `{"like": [2, 1]}`; 1 without.
        crop: a part of the only image that is not of the catalogue: x, y, width and height in pixels.
        options: search parameters.

    Raises:
        InvalidInputError: there is no image to find, an image cannot be read, or there are not as many weights as
            images.
    """
    params = parameters_of(options) | {"crop": ",".join(map(str, crop)) if crop else None}
    if image is None and not like:
        raise InvalidInputError("image", "is missing. Pass an image, or ids, keys or images as like.")
    first = [] if image is None else [Path(image) if isinstance(image, str) else image]
    sides: dict[Side, Sequence[Example]] = {"image": first, "like": like, "unlike": unlike}
    # Fields of the request, with an image and its weight each.
    fields: dict[str, list[tuple[Any, float]]] = {"image": [], "like": [], "unlike_image": [], "unlike": []}
    for side, examples in sides.items():
        for example, weight in zip(examples, _weights_of(side, len(examples), weights), strict=True):
            fields[side if isinstance(example, int | str) else _UPLOADED[side]].append((example, weight))
    files = [
        (name, _file_name(example), read_image(example))
        for name in ("image", "unlike_image")
        for example, _ in fields[name]
    ]
    references = {name: [example for example, _ in fields[name]] for name in ("like", "unlike") if fields[name]}
    sent = {"weights": {name: [weight for _, weight in pairs] for name, pairs in fields.items() if pairs}}
    if files:
        texts: dict[str, str | list[str]] = {name: list(map(_text, some)) for name, some in references.items()}
        data = texts | ({"weights": json.dumps(sent["weights"])} if weights else {})
        response = yield Request("POST", "/search", params, files, data)
    else:
        response = yield Request("POST", "/search", params, json=references | (sent if weights else {}))
    return response.parse(_SEARCH)


def _weights_of(side: Side, images: int, weights: Mapping[Side, Sequence[float]] | None) -> Sequence[float]:
    """Return a weight for each image of a side.

    Raises:
        InvalidInputError: there are not as many weights as images.
    """
    found = (weights or {}).get(side, [1.0] * images)
    if len(found) != images:
        raise InvalidInputError("weights", f"{side} has {len(found)} weights for {images} images. Pass one for each.")
    return found


def _file_name(image: Any) -> str:
    """Return the name of an image's file, which errors name, as text that can be sent."""
    name = Path(image).name if isinstance(image, PathLike) else "image"
    return name.encode(errors="replace").decode()


def _text(reference: int | str) -> str:
    """Write an id or a key as a form takes it: a key with a prefix, because it may look like an id."""
    return str(reference) if isinstance(reference, int) else f"key:{reference}"
