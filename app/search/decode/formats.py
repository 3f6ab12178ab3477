"""The image formats that are decoded, recognised by the first bytes of a file."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pi_heif import HeifImageFile
from PIL import ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from app.errors import ImageRejectedError
from app.search.decode.embedded_profile import jpeg_profile, png_profile
from app.search.decode.metadata_stripper import StillJpeg, still_avif, still_gif, still_jpeg, still_png
from models.data.iso_brands import iso_codec, with_usual_brands


@dataclass(frozen=True)
class Format:
    """An image format.

    Attributes:
        name: its name in messages.
        media_type: its media type.
        matches: whether a file has this format, by its first bytes.
        decoder: the only decoder that reads such files.
        still: strips a file of metadata and further frames.
        colour_profile: returns the ICC profile that `still` strips; empty if there is none. Raises ProfileError.
    """

    name: str
    media_type: str
    matches: Callable[[bytes], bool]
    decoder: type[ImageFile.ImageFile]
    still: Callable[[bytes], bytes] = bytes
    colour_profile: Callable[[bytes], bytes] = lambda _data: b""


def recognise(data: bytes) -> Format:
    """Return the format of a file.

    Raises:
        ImageRejectedError: it has none of the supported formats.
    """
    for kind in FORMATS:
        if kind.matches(data):
            return kind
    names = ", ".join(kind.name for kind in FORMATS)
    reason = f"The file is not in a supported image format. Send one of {names}."
    raise ImageRejectedError("image_format_unsupported", reason)


def _starts_with(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda data: compiled.match(data) is not None


def _is_avif(data: bytes) -> bool:
    return iso_codec(data) == "av1"


def _is_heic(data: bytes) -> bool:
    return iso_codec(data) == "hevc"


def _readable_avif(data: bytes) -> bytes:
    return still_avif(with_usual_brands(data))


FORMATS = (
    Format("JPEG", "image/jpeg", _starts_with(rb"\xff\xd8\xff"), StillJpeg, still_jpeg, jpeg_profile),
    Format("PNG", "image/png", _starts_with(rb"\x89PNG\r\n\x1a\n"), PngImageFile, still_png, png_profile),
    Format("WebP", "image/webp", _starts_with(rb"RIFF.{4}WEBP"), WebPImageFile),
    Format("GIF", "image/gif", _starts_with(rb"GIF8[79]a"), GifImageFile, still_gif),
    Format("BMP", "image/bmp", _starts_with(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"), BmpImageFile),
    Format("AVIF", "image/avif", _is_avif, AvifImageFile, _readable_avif),
    Format("HEIC", "image/heic", _is_heic, HeifImageFile, with_usual_brands),
)
MEDIA_TYPES = frozenset(kind.media_type for kind in FORMATS)
