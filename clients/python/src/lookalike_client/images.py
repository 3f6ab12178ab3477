"""Images to send: paths, bytes, or Pillow images."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import IO, Any, Protocol

from lookalike_client.errors import InvalidInputError
from lookalike_client.pillow_images import encode_pillow_image, is_pillow_image

# Fields of `POST /index` that are not metadata.
RESERVED_FIELDS = ("key", "label")


class Savable(Protocol):
    """An object that can be saved like an image of Pillow, which is not a dependency."""

    def save(self, fp: IO[bytes], file_format: str, /) -> None:
        """Write the image to a file in the given format."""


ImageInput = str | PathLike[str] | bytes | Savable


@dataclass(frozen=True)
class NewImage:
    """An image to add.

    Attributes:
        image: a path, the file's bytes, or a Pillow image.
        key: your own id of the image; None for the SHA-256 of its bytes.
        label: its class.
        metadata: further fields, as JSON.
    """

    image: ImageInput
    key: str | None = None
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """Return key, label and metadata as one object, as `POST /index` reads them.

        Raises:
            InvalidInputError: the metadata has a field with a reserved name.
        """
        taken = [name for name in RESERVED_FIELDS if name in self.metadata]
        if taken:
            raise InvalidInputError("metadata", f"{taken[0]!r} is a reserved name. Set {taken[0]} of NewImage instead.")
        own = {"key": self.key, "label": self.label}
        return {name: value for name, value in own.items() if value is not None} | dict(self.metadata)


def read_image(image: ImageInput) -> bytes:
    """Return an image's bytes; those of a Pillow image are its file's, or a PNG (`pillow_images.py`).

    Raises:
        InvalidInputError: it is neither a path, nor bytes, nor a Pillow image, or cannot be encoded.
        OSError: the file cannot be read.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, (str, PathLike)):
        return Path(image).read_bytes()
    if is_pillow_image(image):
        return encode_pillow_image(image)
    if not callable(getattr(image, "save", None)):
        raise InvalidInputError(
            "image", f"{type(image).__name__} is not an image. Pass a path, bytes, or a Pillow image."
        )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
