"""Brands of ISO image files: AVIF and HEIC (`ftyp` box; ISO 23008-12, AVIF, MIAF).

A file names one major brand and any number of compatible ones. Decoders look for a few of them only, and some programs
write others.
"""

from typing import Literal

Codec = Literal["av1", "hevc"]

AVIF_BRANDS = frozenset((b"avif", b"avis", b"MA1A", b"MA1B"))
HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"MiHE", b"MiHB"))
# The file holds images of any codec.
IMAGE_BRANDS = frozenset((b"mif1", b"mif2", b"msf1", b"miaf"))
# The decoders require one of the first among the compatible brands; Pillow, one of the second as the major brand.
_REQUIRED: dict[Codec, frozenset[bytes]] = {
    "av1": frozenset((b"avif", b"avis")),
    "hevc": frozenset((b"heic", b"heix", b"mif1", b"msf1")),
}
_MAJOR: dict[Codec, frozenset[bytes]] = {
    "av1": frozenset((b"avif", b"avis", b"mif1", b"msf1")),
    "hevc": HEIC_BRANDS - {b"MiHE", b"MiHB"} | {b"mif1", b"msf1"},
}
_USUAL: dict[Codec, bytes] = {"av1": b"avif", "hevc": b"heic"}
_MAX_FTYP, _BRAND_BYTES = 1024, 4
_MAJOR_AT, _COMPATIBLE_AT = 8, 16
# Header bytes in which the item's codec is looked for.
_HEAD = 1 << 16


def iso_codec(data: bytes) -> Codec | None:
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


def with_usual_brands(data: bytes) -> bytes:
    """Replace brands of an ISO image file that its decoder does not know; other files are returned as they are.

    No byte moves, so that the offsets in the file stay valid. A file without compatible brands gets none.
    """
    codec = iso_codec(data)
    if codec is None:
        return data
    major, *compatible = _brands(data)
    if major not in _MAJOR[codec]:
        data = _with_brand(data, _MAJOR_AT, _USUAL[codec])
    if compatible and not _REQUIRED[codec].intersection(compatible):
        data = _with_brand(data, _COMPATIBLE_AT + _BRAND_BYTES * (len(compatible) - 1), _USUAL[codec])
    return data


def _brands(data: bytes) -> list[bytes]:
    """Return the major brand and the compatible brands; empty without an `ftyp` box."""
    if data[4:8] != b"ftyp":
        return []
    size = min(max(int.from_bytes(data[:4]), _COMPATIBLE_AT), _MAX_FTYP, len(data))
    compatible = range(_COMPATIBLE_AT, size - _BRAND_BYTES + 1, _BRAND_BYTES)
    return [data[_MAJOR_AT : _MAJOR_AT + _BRAND_BYTES], *(data[at : at + _BRAND_BYTES] for at in compatible)]


def _with_brand(data: bytes, at: int, brand: bytes) -> bytes:
    return data[:at] + brand + data[at + _BRAND_BYTES :]
