"""Pictures on their way to the service: from a path, from bytes, or from Pillow."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from app.errors import InvalidInputError
from PIL import Image

PictureLike = str | PathLike[str] | bytes | Image.Image
# What `POST /index` reads beside the metadata's own fields.
RESERVED = ("key", "label")


@dataclass(frozen=True)
class NewPicture:
    """A picture to add; without a key, the hash of its bytes is its key."""

    picture: PictureLike
    key: str | None = None
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Returns what is said of it, as `POST /index` reads it.

        Raises:
            InvalidInputError: a field of the metadata has a name that means something else.
        """
        taken = [name for name in RESERVED if name in self.metadata]
        if taken:
            raise InvalidInputError("metadata", f"{taken[0]!r} is not metadata; give it as the picture's {taken[0]}")
        said = {"key": self.key, "label": self.label}
        return {name: value for name, value in said.items() if value is not None} | dict(self.metadata)


def data_of(picture: PictureLike) -> bytes:
    """Returns a picture's bytes; a picture of Pillow's becomes a PNG, which loses nothing."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()
    return Path(picture).read_bytes()
