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

# Brands of the `ftyp` box (ISO 23008-12, AVIF, MIAF). The third group says that the file holds images of any codec.
AVIF_BRANDS = frozenset((b"avif", b"avis", b"MA1A", b"MA1B"))
HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"MiHE", b"MiHB"))
IMAGE_BRANDS = frozenset((b"mif1", b"mif2", b"msf1", b"miaf"))
# The decoders require one of these among the compatible brands.
_AVIF_REQUIRED = frozenset((b"avif", b"avis"))
_HEIC_REQUIRED = frozenset((b"heic", b"heix", b"mif1", b"msf1"))
_MAX_FTYP, _BRAND_BYTES = 1024, 4
# Header bytes in which the item's codec is looked for.
_HEAD = 1 << 16


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


def _brands(data: bytes) -> list[bytes]:
    """Return the major brand and the compatible brands; empty without an `ftyp` box."""
    if data[4:8] != b"ftyp":
        return []
    size = min(max(int.from_bytes(data[:4]), 16), _MAX_FTYP, len(data))
    compatible = range(16, size - _BRAND_BYTES + 1, _BRAND_BYTES)
    return [data[8:12], *(data[at : at + _BRAND_BYTES] for at in compatible)]


def _is_avif(data: bytes) -> bool:
    return _codec(data) == "av1"


def _is_heic(data: bytes) -> bool:
    return _codec(data) == "hevc"


def _codec(data: bytes) -> str | None:
    """Return the codec of an ISO image file by its brands, most specific first; None for other files."""
    brands = _brands(data)
    if not brands:
        return None
    if brands[0] in HEIC_BRANDS:
        return "hevc"
    if AVIF_BRANDS.intersection(brands):
        return "av1"
    if HEIC_BRANDS.intersection(brands):
        return "hevc"
    if IMAGE_BRANDS.intersection(brands):
        head = data[:_HEAD]
        return "av1" if b"av01" in head and b"hvc1" not in head else "hevc"
    return None


def _with_brand(data: bytes, required: frozenset[bytes], brand: bytes) -> bytes:
    """Replace the last compatible brand, if none of them is one that the decoder requires.

    No byte moves, so that the offsets in the file stay valid. A file without compatible brands stays as it is.
    """
    compatible = _brands(data)[1:]
    if not compatible or required.intersection(compatible):
        return data
    at = 16 + _BRAND_BYTES * (len(compatible) - 1)
    return data[:at] + brand + data[at + _BRAND_BYTES :]


def _readable_avif(data: bytes) -> bytes:
    return still_avif(_with_brand(data, _AVIF_REQUIRED, b"avif"))


def _readable_heic(data: bytes) -> bytes:
    return _with_brand(data, _HEIC_REQUIRED, b"heic")


FORMATS = (
    Format("JPEG", "image/jpeg", _starts_with(rb"\xff\xd8\xff"), StillJpeg, still_jpeg, jpeg_profile),
    Format("PNG", "image/png", _starts_with(rb"\x89PNG\r\n\x1a\n"), PngImageFile, still_png, png_profile),
    Format("WebP", "image/webp", _starts_with(rb"RIFF.{4}WEBP"), WebPImageFile),
    Format("GIF", "image/gif", _starts_with(rb"GIF8[79]a"), GifImageFile, still_gif),
    Format("BMP", "image/bmp", _starts_with(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"), BmpImageFile),
    Format("AVIF", "image/avif", _is_avif, AvifImageFile, _readable_avif),
    Format("HEIC", "image/heic", _is_heic, HeifImageFile, _readable_heic),
)
MEDIA_TYPES = frozenset(kind.media_type for kind in FORMATS)
