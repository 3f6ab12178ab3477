"""Decode untrusted image files into upright RGB.

The first bytes select one of seven formats (`formats.py`), and only that format's decoder reads the data. Sizes are
checked as declared, before a pixel is decoded, and again as decoded. Pillow's decoders are called directly rather than
through `Image.open`, on files without metadata and further frames (`metadata_stripper.py`). Pillow's global state is
neither read nor changed, so any number of threads may decode at once.

Colours are converted to sRGB from the file's ICC profile if the network's preprocessing says so; otherwise values are
read as sRGB. All frames of an animation but the first are ignored.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from io import BytesIO
from typing import Self

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile

from app.errors import ImageRejectedError
from app.search.decode.formats import Format, recognise
from app.search.decode.metadata_stripper import StillJpeg, still_jpeg
from models.data.colour_profile import ProfileError, to_srgb
from models.data.jpeg_end import jpeg_with_end
from models.data.orientation import SIDEWAYS, make_upright, read_orientation
from models.data.png_depth import png_bit_depth, to_8_bit
from models.network.preprocess import Colour, Preprocess

THUMBNAIL_MEDIA_TYPE = "image/jpeg"
# Longer side of a thumbnail, in pixels, and its quality: 24 kB for a photograph, 1.7 times that of 320 pixels at 80.
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 512, 75
# A progressive JPEG can rescan all its pixels every 75 bytes: 20 MB could keep a core busy for hours.
# Encoders write about ten scans. The limit applies to images of the maximum size; smaller ones may have more.
SCANS_AT_MAX_PIXELS = 40
BMP_RUN_LENGTH = (1, 2)
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"


class ImageWarning(StrEnum):
    """Flaws of a file that is used all the same."""

    JPEG_END_MISSING = "jpeg_end_missing"
    COLOUR_PROFILE_IGNORED = "colour_profile_ignored"

    @property
    def sentence(self) -> str:
        """Explanation for people."""
        return _SENTENCES[self]


_SENTENCES = {
    ImageWarning.JPEG_END_MISSING: (
        "The last bytes of the JPEG are missing. All of its pixels are there, so it is used."
    ),
    ImageWarning.COLOUR_PROFILE_IGNORED: (
        "The colour profile is damaged, too large, or not for the colours of this image, so it is ignored. "
        "The colours may differ from those of the original."
    ),
}


@dataclass(frozen=True)
class DecodeLimits:
    """Maximum file size and pixel count of an image."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class DecodeOptions:
    """What the caller needs of an image.

    Attributes:
        side: shorter side, in pixels, that the caller resizes to, at least 1; None for the full size of the file.
        scale: JPEGs may be decoded at a reduced size of at least this multiple of `side`.
        colour: whether colours are converted to sRGB (`Preprocess.colour`).
    """

    side: int | None = None
    scale: float = 1.25
    colour: Colour = "ignore"

    @classmethod
    def of(cls, preprocess: Preprocess) -> Self:
        """What a network's preprocessing needs."""
        return cls(preprocess.decode_side, preprocess.decode_scale, preprocess.colour)


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
        warnings: flaws of the file.
    """

    image: Image.Image
    width: int
    height: int
    media_type: str
    warnings: tuple[ImageWarning, ...] = ()


def decode(
    data: bytes, limits: DecodeLimits, options: DecodeOptions = DecodeOptions(), crop: Crop | None = None
) -> DecodedImage:
    """Decode an image file; deterministic.

    Args:
        data: a whole JPEG, PNG, WebP, GIF, BMP, AVIF or HEIC file.
        limits: maximum file size and pixel count.
        options: size and colours that the caller needs.
        crop: crop rectangle; None for the whole image.

    Raises:
        ImageRejectedError: the bytes are not a usable image. No bytes cause any other exception.
    """
    check_bytes(len(data), limits)
    kind = recognise(data)
    try:
        return _decode_or_complete(kind, data, limits, options, crop)
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


def thumbnail_options(width: int, height: int, colour: Colour) -> DecodeOptions:
    """Return how an image of `width` × `height` pixels must be decoded for its thumbnail."""
    shorter = -(-min(THUMBNAIL_SIDE, max(width, height)) * min(width, height) // max(width, height))
    return DecodeOptions(max(shorter, 1), 1.0, colour)


def thumbnail_size(width: int, height: int, side: int = THUMBNAIL_SIDE) -> tuple[int, int]:
    """Return the width and height of the thumbnail of an image of `width` × `height` pixels."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def thumbnail(image: Image.Image, side: int = THUMBNAIL_SIDE) -> bytes:
    """Shrink an RGB image to fit a square, never enlarge it; encode as `THUMBNAIL_MEDIA_TYPE` without metadata."""
    # Lanczos takes twice as long, for a file that is 4% larger.
    small = image.resize(thumbnail_size(*image.size, side), Image.Resampling.HAMMING, reducing_gap=3.0)
    small.info.clear()
    buffer = BytesIO()
    # WebP is a fifth smaller at the same quality, but takes ten times as long: longer than computing the code.
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return buffer.getvalue()


def encode_png(image: Image.Image) -> bytes:
    """Encode an image without loss."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _decode_or_complete(
    kind: Format, data: bytes, limits: DecodeLimits, options: DecodeOptions, crop: Crop | None
) -> DecodedImage:
    """Decode a file; a JPEG that lacks its last bytes, but no pixel, with a warning."""
    try:
        decoded = _decode(kind, data, kind.still(data), limits, options, crop)
    except (ImageRejectedError, MemoryError):
        raise
    except Exception:  # as in `decode`
        if kind.decoder is not StillJpeg or (whole := jpeg_with_end(still_jpeg(data))) is None:
            raise
        return _with_warning(_decode(kind, data, whole, limits, options, crop), ImageWarning.JPEG_END_MISSING)
    # The decoder does without the end of small images. Bytes may follow the end, but the search for them takes time.
    ends = kind.decoder is not StillJpeg or data.endswith(JPEG_END) or data.rfind(JPEG_END) > data.rfind(JPEG_SCAN)
    if ends or jpeg_with_end(still_jpeg(data)) is None:
        return decoded
    return _with_warning(decoded, ImageWarning.JPEG_END_MISSING)


def _with_warning(decoded: DecodedImage, warning: ImageWarning) -> DecodedImage:
    return replace(decoded, warnings=(warning, *decoded.warnings))


def _decode(
    kind: Format, data: bytes, still: bytes, limits: DecodeLimits, options: DecodeOptions, crop: Crop | None
) -> DecodedImage:
    """Decode `still`, what is left of the file `data` without metadata."""
    image = kind.decoder(BytesIO(still))
    _check_pixels(image.size, limits)
    _check_decoding_cost(image, data, limits)
    full = _load(image, _full_image_side(options.side, crop, min(image.size)), options.scale)
    _check_pixels(image.size, limits)
    orientation = read_orientation(image.info.get("exif") or b"")
    width, height = full[::-1] if orientation in SIDEWAYS else full
    opened, warnings = to_8_bit(image, png_bit_depth(data)), tuple[ImageWarning, ...]()
    if options.colour == "srgb":
        try:
            if profile := kind.colour_profile(data) or image.info.get("icc_profile"):
                opened = to_srgb(opened, profile)
        except ProfileError:
            warnings = (ImageWarning.COLOUR_PROFILE_IGNORED,)
    upright = make_upright(_to_rgb(opened), orientation)
    cropped = upright if crop is None else _crop(upright, crop, width, height)
    return DecodedImage(cropped, width, height, kind.media_type, warnings)


def check_bytes(size: int, limits: DecodeLimits) -> None:
    """Check the size of an image file.

    Raises:
        ImageRejectedError: the file is empty or too large.
    """
    if size == 0:
        raise ImageRejectedError("image_empty", "The image file is empty. Send an image.")
    if size > limits.max_bytes:
        reason = f"The image has {size:,} bytes; at most {limits.max_bytes:,} are allowed."
        raise ImageRejectedError("image_too_large", reason)


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
        scans = data.count(JPEG_SCAN)
        if scans * image.width * image.height > SCANS_AT_MAX_PIXELS * limits.max_pixels:
            size = f"{image.width:,} × {image.height:,}"
            reason = f"The JPEG has {scans:,} scans of {size} pixels, too many to decode. Save it with fewer scans."
            raise ImageRejectedError("image_too_many_pixels", reason)


def _load(image: ImageFile.ImageFile, side: int | None, scale: float) -> tuple[int, int]:
    """Decode the pixels, and return the size of the full-size image."""
    declared = image.size
    if side is None or not isinstance(image, JpegImageFile):
        image.load()
        return image.size
    # libjpeg halves by skipping the highest frequencies, which also saves decoding time.
    image.draft(None, (round(scale * side), round(scale * side)))
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
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layer, mask=layer)
    return paper
