"""Bytes from anybody → what the network reads of a picture, and what the catalogue keeps of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from app.errors import PictureRefusedError
from app.observability.hooks import Observer
from app.search.decode.image import Crop, DecodeLimits, decode
from app.search.decode.image import thumbnail as shrunk


@dataclass(frozen=True)
class Prepared:
    """A picture that was decoded.

    Attributes:
        image: what the network reads of it.
        thumbnail: a small JPEG, `THUMBNAIL_MEDIA_TYPE`; empty unless it was asked for.
        width: of the whole upright picture, in pixels.
        height: of the whole upright picture, in pixels.
        media_type: what the bytes were, whatever anybody called them.
    """

    image: Image.Image
    thumbnail: bytes
    width: int
    height: int
    media_type: str


class Preparer(Protocol):
    """Prepares pictures for one network. Safe for many threads."""

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decodes a picture, or a crop of it.

        Raises:
            PictureRefusedError: the bytes are no picture that can be used.
        """
        ...


class InProcess:
    """Prepares pictures right here: for trusted pictures, and inside a process of the sandbox."""

    def __init__(self, side: int, reduce: Callable[[Image.Image], Image.Image], limits: DecodeLimits) -> None:
        self._side, self._reduce, self._limits = side, reduce, limits

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decodes a picture, or a crop of it."""
        picture = decode(data, self._limits, self._side, crop)
        small = shrunk(picture.image) if thumbnail else b""
        return Prepared(self._reduce(picture.image), small, picture.width, picture.height, picture.media_type)


class Watched:
    """Has an observer hear which pictures are refused."""

    def __init__(self, prepare: Preparer, observer: Observer) -> None:
        self._prepare, self._observer = prepare, observer

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decodes a picture, or a crop of it."""
        try:
            return self._prepare(data, thumbnail=thumbnail, crop=crop)
        except PictureRefusedError as refused:
            self._observer.refused(refused.code)
            raise
