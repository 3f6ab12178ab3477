"""Prepare untrusted image files: decode, resize for the network, and make thumbnails."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import ImageRejectedError
from app.observability.hooks import Observer
from app.search.decode.image import (
    THUMBNAIL_SIDE,
    Crop,
    DecodedImage,
    DecodeLimits,
    DecodeOptions,
    ImageWarning,
    decode,
    thumbnail_options,
)
from app.search.decode.image import thumbnail as make_thumbnail
from models.network.preprocess import Preprocess


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A decoded image, resized for the network.

    Attributes:
        pixels: the network's input, `(height, width, 3)` uint8, RGB.
        thumbnail: a small JPEG, `THUMBNAIL_MEDIA_TYPE`; empty unless requested.
        width: width of the full-size upright image, in pixels.
        height: height of the full-size upright image, in pixels.
        media_type: detected from the bytes.
        warnings: flaws of the file.
    """

    pixels: NDArray[np.uint8]
    thumbnail: bytes
    width: int
    height: int
    media_type: str
    warnings: tuple[ImageWarning, ...] = ()

    @cached_property
    def image(self) -> Image.Image:
        """The network's input as an image."""
        return Image.fromarray(self.pixels)


class ImagePreparer(Protocol):
    """Prepares images for one network. Thread-safe."""

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> PreparedImage:
        """Decode an image, or a crop of it.

        Raises:
            ImageRejectedError: the bytes are not a usable image.
        """
        ...


class InProcessPreparer:
    """Prepares images in the calling process: for trusted images, and inside a decode process."""

    def __init__(self, preprocess: Preprocess, limits: DecodeLimits) -> None:
        self._preprocess, self._limits, self._options = preprocess, limits, DecodeOptions.of(preprocess)

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> PreparedImage:
        """Decode an image, or a crop of it."""
        decoded = decode(data, self._limits, self._options, crop)
        small = self._thumbnail(data, decoded) if thumbnail else b""
        pixels = self._preprocess(decoded.image, whole=crop is not None)
        return PreparedImage(pixels, small, decoded.width, decoded.height, decoded.media_type, decoded.warnings)

    def _thumbnail(self, data: bytes, decoded: DecodedImage) -> bytes:
        """Return an image's thumbnail; a JPEG that was reduced to less than that is decoded again."""
        if max(decoded.image.size) >= min(THUMBNAIL_SIDE, max(decoded.width, decoded.height)):
            return make_thumbnail(decoded.image)
        options = thumbnail_options(decoded.width, decoded.height, self._options.colour)
        return make_thumbnail(decode(data, self._limits, options).image)


class ObservedPreparer:
    """Reports rejected images to an observer."""

    def __init__(self, prepare: ImagePreparer, observer: Observer) -> None:
        self._prepare, self._observer = prepare, observer

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> PreparedImage:
        """Decode an image, or a crop of it."""
        try:
            return self._prepare(data, thumbnail=thumbnail, crop=crop)
        except ImageRejectedError as refused:
            self._observer.on_rejected(refused.code)
            raise
