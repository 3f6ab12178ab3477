"""Decode untrusted image files into upright RGB.

The first bytes select one of seven formats, and only that format's decoder reads the data. Sizes are checked as
declared, before a pixel is decoded, and again as decoded. Pillow's decoders are called directly rather than through
`Image.open`, on files without metadata and further frames (`metadata_stripper.py`). Pillow's global state is neither
read nor changed, so any number of threads may decode at once.

Colour profiles are ignored (values are taken as sRGB), and so are all frames of an animation but the first.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from pi_heif import HeifImageFile
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from app.errors import ImageRejectedError
from app.search.decode.metadata_stripper import StillJpeg, still_avif, still_gif, still_jpeg, still_png

THUMBNAIL_MEDIA_TYPE = "image/jpeg"
# A progressive JPEG can rescan all its pixels every 75 bytes: 20 MB could keep a core busy for hours.
# Encoders write about ten scans. The limit applies to images of the maximum size; smaller ones may have more.
SCANS_AT_MAX_PIXELS = 40
# JPEGs are decoded at a reduced size of at least this multiple of the requested side. A factor of 2 would keep every
# frequency that resizing keeps, at several times the cost, and does not improve search.
DRAFT_SCALE = 1.25
BMP_RUN_LENGTH = (1, 2)
EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DecodeLimits:
    """Maximum file size and pixel count of an image."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class Crop:
    """Crop rectangle of an upright image: upper left corner and size, in pixels of the full-size image."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        image: RGB, upright, cropped, without metadata; a JPEG may be reduced, as `side` allows.
        width: width of the full-size upright image, in pixels.
        height: height of the full-size upright image, in pixels.
        media_type: detected from the bytes.
    """

    image: Image.Image
    width: int
    height: int
    media_type: str


@dataclass(frozen=True)
class _Format:
    name: str
    media_type: str
    magic: bytes
    decoder: type[ImageFile.ImageFile]
    still: Callable[[bytes], bytes] = bytes


def decode(data: bytes, limits: DecodeLimits, side: int | None = None, crop: Crop | None = None) -> DecodedImage:
    """Decode an image file; deterministic.

    Args:
        data: a whole JPEG, PNG, WebP, GIF, BMP, AVIF or HEIC file.
        limits: maximum file size and pixel count.
        side: shorter side that the caller resizes to, at least 1; allows decoding JPEGs at a reduced size.
        crop: crop rectangle; None for the whole image.

    Raises:
        PictureRefusedError: the bytes are not a usable image. No bytes cause any other exception.
    """
    check_bytes(len(data), limits)
    kind = _recognise(data)
    try:
        return _decode(kind, data, limits, side, crop)
    except ImageRejectedError:
        raise
    except MemoryError as error:
        reason = f"The {kind.name} image needs more memory to decode than is available. Send a smaller image."
        raise ImageRejectedError("image_decode_out_of_memory", reason) from error
    # Decoders raise many undocumented exceptions (OSError, SyntaxError, struct.error, …); all mean that this data
    # cannot be decoded.
    except Exception as error:
        reason = f"The {kind.name} image is damaged or incomplete. Send an intact file."
        raise ImageRejectedError("image_damaged", reason) from error


def thumbnail(image: Image.Image, side: int = 320) -> bytes:
    """Shrink an RGB image to fit a square, never enlarge it; encode as `THUMBNAIL_MEDIA_TYPE` without metadata."""
    scale = min(1.0, side / max(image.size))
    width, height = (max(1, round(length * scale)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info.clear()
    buffer = BytesIO()
    # WebP is a fifth smaller at the same quality, but takes ten times as long: longer than computing the code.
    small.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def _decode(kind: _Format, data: bytes, limits: DecodeLimits, side: int | None, crop: Crop | None) -> DecodedImage:
    image = kind.decoder(BytesIO(kind.still(data)))
    _check_pixels(image.size, limits)
    _check_decoding_cost(image, data, limits)
    full = _load(image, _full_image_side(side, crop, min(image.size)))
    _check_pixels(image.size, limits)
    orientation = _orientation(image.info.get("exif") or b"")
    width, height = full[::-1] if orientation in SIDEWAYS else full
    upright = _upright(_to_rgb(image), orientation)
    cropped = upright if crop is None else _crop(upright, crop, width, height)
    return DecodedImage(cropped, width, height, kind.media_type)


def check_bytes(size: int, limits: DecodeLimits) -> None:
    """Check the size of an image file.

    Raises:
        PictureRefusedError: the file is empty or too large.
    """
    if size == 0:
        raise ImageRejectedError("image_empty", "The image file is empty. Send an image.")
    if size > limits.max_bytes:
        reason = f"The image has {size:,} bytes; at most {limits.max_bytes:,} are allowed."
        raise ImageRejectedError("image_too_large", reason)


def _recognise(data: bytes) -> _Format:
    for kind in FORMATS:
        if re.match(kind.magic, data, re.DOTALL):
            return kind
    names = ", ".join(kind.name for kind in FORMATS)
    reason = f"The file is not in a supported image format. Send one of {names}."
    raise ImageRejectedError("image_format_unsupported", reason)


def _check_pixels(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        reason = f"The image has {width:,} × {height:,} pixels; at most {limits.max_pixels:,} are allowed."
        raise ImageRejectedError("image_too_many_pixels", reason)


def _check_decoding_cost(image: ImageFile.ImageFile, data: bytes, limits: DecodeLimits) -> None:
    # Pillow decodes run lengths in a Python loop: a file within the limits would take most of a minute.
    if isinstance(image, BmpImageFile) and image.info["compression"] in BMP_RUN_LENGTH:
        reason = "The BMP image is run-length compressed, which is not supported. Save it without compression."
        raise ImageRejectedError("image_format_unsupported", reason)
    if image.info.get("progressive"):
        scans = data.count(b"\xff\xda")
        if scans * image.width * image.height > SCANS_AT_MAX_PIXELS * limits.max_pixels:
            size = f"{image.width:,} × {image.height:,}"
            reason = f"The JPEG has {scans:,} scans of {size} pixels, too many to decode. Save it with fewer scans."
            raise ImageRejectedError("image_too_many_pixels", reason)


def _load(image: ImageFile.ImageFile, side: int | None) -> tuple[int, int]:
    """Decode the pixels, and return the size of the full-size image."""
    declared = image.size
    if side is None or not isinstance(image, JpegImageFile):
        image.load()
        return image.size
    # libjpeg halves by skipping the highest frequencies, which also saves decoding time.
    image.draft(None, (round(DRAFT_SCALE * side), round(DRAFT_SCALE * side)))
    image.load()
    return declared


def _full_image_side(side: int | None, crop: Crop | None, shorter: int) -> int | None:
    """Shorter side of the full image for which the crop has the requested side."""
    if side is None or crop is None:
        return side
    return -(-side * shorter // max(min(crop.width, crop.height), 1))


def _crop(upright: Image.Image, crop: Crop, width: int, height: int) -> Image.Image:
    """Crop an image that may have been reduced from `width` × `height` pixels."""
    right, lower = crop.x + crop.width, crop.y + crop.height
    if not (0 <= crop.x < right <= width and 0 <= crop.y < lower <= height):
        reason = f"The crop {crop} (x, y, width, height) is not within the image of {width:,} × {height:,} pixels."
        raise ImageRejectedError("crop_outside_image", reason)
    across, down = upright.width / width, upright.height / height
    corner = int(crop.x * across), int(crop.y * down)
    # At least one pixel, even if a narrow crop rounds to nothing.
    end = max(round(right * across), corner[0] + 1), max(round(lower * down), corner[1] + 1)
    return upright.crop((*corner, *end))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I;16":  # Pillow would clip at 255; keep the high byte instead
        image = Image.frombytes("L", image.size, image.tobytes()[1::2])
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layer, mask=layer)
    return paper


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    upright = image.transpose(TURNS[orientation]) if orientation in TURNS else image
    # Without the orientation tag, or a reader would rotate the image a second time.
    upright.info.clear()
    return upright


def _orientation(exif: bytes) -> int:
    """EXIF orientation; 1 (upright) if it is missing or damaged, so that damaged EXIF does not reject an image."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if tag == EXIF_ORIENTATION:
                return int(value)
    except struct.error:
        pass
    return 1


FORMATS = (
    _Format("JPEG", "image/jpeg", rb"\xff\xd8\xff", StillJpeg, still_jpeg),
    _Format("PNG", "image/png", rb"\x89PNG\r\n\x1a\n", PngImageFile, still_png),
    _Format("WebP", "image/webp", rb"RIFF.{4}WEBP", WebPImageFile),
    _Format("GIF", "image/gif", rb"GIF8[79]a", GifImageFile, still_gif),
    _Format("BMP", "image/bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", BmpImageFile),
    _Format("AVIF", "image/avif", rb".{4}ftyp(avi[fs]|m[is]f1.{4}(.{4}){0,8}avi[fs])", AvifImageFile, still_avif),
    _Format("HEIC", "image/heic", rb".{4}ftyp(hei[cxms]|hev[cxms]|m[is]f1)", HeifImageFile),
)
MEDIA_TYPES = frozenset(kind.media_type for kind in FORMATS)
