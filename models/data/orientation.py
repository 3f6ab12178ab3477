"""EXIF orientation: find it in a file's metadata, and make an image upright."""

import re
import struct
from contextlib import suppress

from PIL import Image

SIDEWAYS = (5, 6, 7, 8)
_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The standard says SHORT (3). Some programs write one of the other integer types of TIFF.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
# Text chunks of a PNG in which ImageMagick stores EXIF, as hexadecimal digits after a name and a length.
RAW_PROFILES = ("Raw profile type exif", "Raw profile type APP1")
# Some writers of PNG put the prefix of JPEG's segment into the eXIf chunk; Pillow prepends another one.
_PREFIX = re.compile(rb"(?:Exif\0\0)*")


def read_orientation(exif: bytes) -> int:
    """EXIF orientation; 1 (upright) if it is missing or damaged, so that damaged EXIF does not reject an image."""
    prefix = _PREFIX.match(exif)
    tiff = exif[prefix.end() :] if prefix else exif
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            at = directory + 2 + 12 * entry
            tag, kind, _ = struct.unpack_from(f"{order}HHI", tiff, at)
            if tag == _TAG:
                return int(struct.unpack_from(f"{order}{_TYPES.get(kind, 'H')}", tiff, at + 8)[0])
    except struct.error:
        pass
    return 1


def exif_of_raw_profile(text: bytes) -> bytes:
    """Return the EXIF in the text of one of `RAW_PROFILES`; empty if there is none or it is malformed."""
    with suppress(ValueError, IndexError):
        words = text.split()
        profile = bytes.fromhex(b"".join(words[2:]).decode("ascii"))
        # "APP1" may also be XMP.
        if words[0] in (b"exif", b"APP1") and profile.startswith(b"Exif\0\0"):
            return profile
    return b""


def make_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image by its orientation, and remove its metadata."""
    upright = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
    # Without the orientation tag, or a reader would rotate the image a second time.
    upright.info.clear()
    return upright
