"""Bytes from anybody → an upright RGB picture, or a refusal that says why.

How: the first bytes name one of seven formats, and only that format's decoder ever sees the data. Sizes are
checked as declared, before a pixel is decoded, and again as decoded. Pillow's decoders are called directly rather
than through `Image.open`, and get the still picture alone (`stills.py`). No state of Pillow's is read or changed:
any number of threads may decode at once.

What it does not know: colour profiles (values are taken as sRGB), further frames of an animation, who asks.
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

from app.errors import PictureRefusedError
from app.search.decode.metadata_stripper import StillJpeg, still_avif, still_gif, still_jpeg, still_png

THUMBNAIL_MEDIA_TYPE = "image/jpeg"
# A progressive JPEG can go over all its pixels again every 75 bytes: 20 MB could keep a core busy for hours.
# Encoders write about ten scans. The limit holds for the largest picture; smaller ones may have more.
SCANS_AT_MAX_PIXELS = 40
# A JPEG may come reduced to so many times the wanted side. Twice the side would keep every frequency that resizing
# keeps, at several times the cost, and searching is no more precise with it.
ENOUGH = 1.25
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
    """The largest picture that is taken: of the file, and of the picture in it."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class Crop:
    """A part of an upright picture: its upper left corner, and its size, in pixels of the whole picture."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        image: RGB, upright, without metadata, the crop alone; smaller than it was where that loses nothing.
        width: of the whole upright picture, in pixels.
        height: of the whole upright picture, in pixels.
        media_type: what the bytes were, whatever anybody called them.
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


def decode(data: bytes, limits: DecodeLimits, side: int | None = None, crop: Crop | None = None) -> Picture:
    """Decode a picture; the same arguments give the same pixels.

    Args:
        data: a whole JPEG, PNG, WebP, GIF, BMP, AVIF or HEIC file.
        limits: what is too large.
        side: the shorter side that the caller will resize to, at least 1. JPEGs may then come reduced.
        crop: the part that is wanted; None for all of it.

    Raises:
        PictureRefusedError: the bytes are no picture that can be used. Nothing else is raised for any bytes.
    """
    check_bytes(len(data), limits)
    kind = _recognise(data)
    try:
        return _decode(kind, data, limits, side, crop)
    except PictureRefusedError:
        raise
    except MemoryError as error:
        reason = f"The {kind.name} picture needs more memory to decode than there is. Send a smaller one."
        raise PictureRefusedError("image_decode_out_of_memory", reason) from error
    # Decoders give up in every way there is (OSError, SyntaxError, struct.error, …) and promise
    # none of them; all mean that this data does not decode. The original stays attached as the cause.
    except Exception as error:
        reason = f"The {kind.name} picture is damaged or incomplete: it cannot be decoded."
        raise PictureRefusedError("image_damaged", reason) from error


def thumbnail(image: Image.Image, side: int = 320) -> bytes:
    """Shrink an RGB picture to fit a square, as `THUMBNAIL_MEDIA_TYPE` without metadata; never enlarge it."""
    scale = min(1.0, side / max(image.size))
    width, height = (max(1, round(length * scale)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info.clear()
    buffer = BytesIO()
    # WebP is a fifth smaller at the same look, but takes ten times as long: more than finding the code.
    small.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def _decode(kind: _Format, data: bytes, limits: DecodeLimits, side: int | None, crop: Crop | None) -> Picture:
    image = kind.decoder(BytesIO(kind.still(data)))
    _check_pixels(image.size, limits)
    _check_effort(image, data, limits)
    full = _load(image, _side_of_all(side, crop, min(image.size)))
    _check_pixels(image.size, limits)
    orientation = _orientation(image.info.get("exif") or b"")
    width, height = full[::-1] if orientation in SIDEWAYS else full
    upright = _upright(_to_rgb(image), orientation)
    return Picture(upright if crop is None else _cut(upright, crop, width, height), width, height, kind.media_type)


def check_bytes(size: int, limits: DecodeLimits) -> None:
    """Refuses a file by its size alone.

    Raises:
        PictureRefusedError: it is empty, or too large.
    """
    if size == 0:
        raise PictureRefusedError("image_empty", "The picture is empty: it has no bytes.")
    if size > limits.max_bytes:
        reason = f"The picture has {size:,} bytes; at most {limits.max_bytes:,} are taken."
        raise PictureRefusedError("image_too_large", reason)


def _recognise(data: bytes) -> _Format:
    for kind in FORMATS:
        if re.match(kind.magic, data, re.DOTALL):
            return kind
    names = ", ".join(kind.name for kind in FORMATS)
    raise PictureRefusedError("image_format_unsupported", f"This is not a picture in a format read here: {names}.")


def _check_pixels(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        reason = f"The picture has {width:,} × {height:,} pixels; at most {limits.max_pixels:,} are taken."
        raise PictureRefusedError("image_too_many_pixels", reason)


def _check_effort(image: ImageFile.ImageFile, data: bytes, limits: DecodeLimits) -> None:
    # Pillow reads run lengths in a Python loop: a file within the limits would take it most of a minute.
    if isinstance(image, BmpImageFile) and image.info["compression"] in BMP_RUN_LENGTH:
        raise PictureRefusedError("image_format_unsupported", "BMP pictures with run-length compression are not read.")
    if image.info.get("progressive"):
        scans = data.count(b"\xff\xda")
        if scans * image.width * image.height > SCANS_AT_MAX_PIXELS * limits.max_pixels:
            reason = f"The picture draws its {image.width:,} × {image.height:,} pixels {scans:,} times over."
            raise PictureRefusedError("image_too_many_pixels", reason)


def _load(image: ImageFile.ImageFile, side: int | None) -> tuple[int, int]:
    """Decode the pixels, and return the size of the whole picture."""
    declared = image.size
    if side is None or not isinstance(image, JpegImageFile):
        image.load()
        return image.size
    # libjpeg halves by leaving out the highest frequencies, before it computes a pixel.
    image.draft(None, (round(ENOUGH * side), round(ENOUGH * side)))
    image.load()
    return declared


def _side_of_all(side: int | None, crop: Crop | None, shorter: int) -> int | None:
    """Returns the shorter side that all of a picture needs to have for the crop to have the side that is wanted."""
    if side is None or crop is None:
        return side
    return -(-side * shorter // max(min(crop.width, crop.height), 1))


def _cut(upright: Image.Image, crop: Crop, width: int, height: int) -> Image.Image:
    """Returns a crop of a picture of so many pixels, which may have come reduced."""
    right, lower = crop.x + crop.width, crop.y + crop.height
    if not (0 <= crop.x < right <= width and 0 <= crop.y < lower <= height):
        reason = f"The crop {crop} (x, y, width, height) does not lie within the {width:,} × {height:,} pixels."
        raise PictureRefusedError("crop_outside_image", reason)
    across, down = upright.width / width, upright.height / height
    corner = int(crop.x * across), int(crop.y * down)
    # At least a pixel, whatever is left of a narrow one.
    end = max(round(right * across), corner[0] + 1), max(round(lower * down), corner[1] + 1)
    return upright.crop((*corner, *end))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I;16":  # Pillow would clip at 255; the upper of the two bytes is the brightness
        image = Image.frombytes("L", image.size, image.tobytes()[1::2])
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layer, mask=layer)
    return paper


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    upright = image.transpose(TURNS[orientation]) if orientation in TURNS else image
    # Whoever reads the orientation again would turn the picture twice.
    upright.info.clear()
    return upright


def _orientation(exif: bytes) -> int:
    """EXIF's orientation; 1, upright, where it cannot be read, for a picture is worth more than its EXIF."""
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
