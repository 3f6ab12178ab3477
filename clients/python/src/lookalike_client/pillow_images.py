"""Bytes of Pillow images: those of the file that an image was opened from, or else a PNG of its upright pixels.

Pillow is not a dependency of the client. It is imported only once a caller passes one of its images.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_client.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import TypeIs

# Pillow's names of the formats that the service reads.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIF")
# Run-length compression of BMP, which the service does not read.
_RUN_LENGTH = (1, 2)
_ORIENTATION = 0x0112
# Modes that PNG stores as they are, and what others are converted to without loss.
_DIRECT = ("1", "L", "LA", "RGB", "RGBA")
_CONVERTED = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
# Modes of another colour space, whose profile does not fit the converted image.
_OTHER_COLOUR_SPACES = ("CMYK", "YCbCr", "LAB", "HSV")
_MAX_8_BIT, _MAX_16_BIT = 255, 65535


def is_pillow_image(image: object) -> TypeIs[Image.Image]:
    """Whether an object is an image of Pillow, without importing it."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(image, pillow.Image)


def encode_pillow_image(image: Image.Image) -> bytes:
    """Return the bytes to send for an image.

    They are those of its file, if it was opened from one that the service can read, the file is still there, and the
    image was not changed. Else they are a PNG: upright by the EXIF orientation, and converted if PNG does not have the
    mode. Numbers of the modes `I`, `I;16` and `F` are 0 to 255, or 0 to 65,535 if there is a larger one, which is
    scaled down if necessary; numbers of `F` from 0 to 1 are scaled up.

    Raises:
        InvalidInputError: the image cannot be encoded.
    """
    return _unchanged_file(image) or _png(image)


def _unchanged_file(image: Image.Image) -> bytes | None:
    """Return the bytes of the file that an image was opened from; None if it differs from the image."""
    from PIL import ImageFile

    if not isinstance(image, ImageFile.ImageFile) or image.format not in _FORMATS or image.tell():
        return None
    if image.format == "BMP" and image.info.get("compression") in _RUN_LENGTH:
        return None
    # Closed and missing files, and files that were replaced by others meanwhile.
    with suppress(OSError, ValueError, SyntaxError):
        data = _file_bytes(image)
        return data if data and _has_same_pixels(image, data) else None
    return None


def _file_bytes(image: Any) -> bytes | None:
    if image.filename:
        return Path(_text(image.filename)).read_bytes()
    # A file object, until the pixels are loaded.
    file = image.fp
    if file is None or not file.seekable():
        return None
    position = file.tell()
    try:
        file.seek(0)
        data: bytes = file.read()
    finally:
        file.seek(position)
    return data


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode(sys.getfilesystemencoding(), "surrogateescape")


def _has_same_pixels(image: Any, data: bytes) -> bool:
    """Whether an image is what the bytes of its file contain."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as fresh:
        if not image.tile:  # the pixels are loaded, and may have been changed since
            fresh.load()
        same = (image.format, image.mode, image.size) == (fresh.format, fresh.mode, fresh.size)
        if not same or _orientation(image) != _orientation(fresh) or _look(image) != _look(fresh):
            return False
        return bool(image.tile) or image.tobytes() == fresh.tobytes()


def _look(image: Image.Image) -> tuple[object, ...]:
    """What the look of an image depends on besides its pixels."""
    palette = None if image.tile else image.getpalette("RGBA")  # type: ignore[attr-defined]  # of image files
    return image.info.get("transparency"), palette


def _orientation(image: Image.Image) -> object:
    with suppress(Exception):  # malformed EXIF
        return image.getexif().get(_ORIENTATION, 1)
    return 1


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Without the profile of another colour space.
    options = {"icc_profile": None} if image.mode in _OTHER_COLOUR_SPACES else {}
    try:
        _converted(_upright(_native(image))).save(buffer, "PNG", **options)
    # Pillow's exceptions for closed files, empty images and unknown modes.
    except (OSError, ValueError, SystemError, KeyError) as error:
        reason = f"the Pillow image of mode {image.mode} and size {image.size} cannot be encoded: {error}"
        raise InvalidInputError("image", reason) from error
    return buffer.getvalue()


def _native(image: Image.Image) -> Image.Image:
    """Return 16-bit grey in any order of bytes as `I;16`; other images as they are."""
    from PIL import Image

    big_endian = image.mode == "I;16B" or (image.mode == "I;16N" and sys.byteorder == "big")
    if image.mode not in ("I;16B", "I;16L", "I;16N"):
        return image
    native = Image.frombytes("I;16", image.size, image.tobytes(), "raw", "I;16B" if big_endian else "I;16")
    native.info = image.info
    return native


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if _orientation(image) != 1 else image


def _converted(image: Image.Image) -> Image.Image:
    """Return an image of a mode that PNG has and that looks the same."""
    if image.mode in ("I", "I;16", "F"):
        image = _grey(image)
    if image.mode == "I;16":
        return image
    if image.mode in _CONVERTED:
        return image.convert(_CONVERTED[image.mode])
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in _DIRECT else image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Return an image of whole or real numbers as 8-bit grey, or as 16-bit grey if there are larger numbers."""
    low, high = image.getextrema()
    if not isinstance(high, (int, float)) or not isinstance(low, (int, float)):
        raise ValueError("it has no numbers")
    if high > _MAX_8_BIT:
        if image.mode == "I;16":
            return image
        scale = min(_MAX_16_BIT / high, 1.0)
        return (_scaled(image, scale) if scale < 1 else image).convert("I").convert("I;16")
    if image.mode == "F":
        return _scaled(image, _MAX_8_BIT if 0 <= low <= high <= 1 else 1).convert("L")
    return image.convert("I").convert("L")


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    # Converting to whole numbers cuts off fractions.
    return image.convert("F").point(lambda value: value * scale + 0.5)
