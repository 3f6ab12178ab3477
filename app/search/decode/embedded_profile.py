"""Find the ICC profile in a JPEG or PNG file (ICC.1:2022, annex B).

Pillow's decoders get these files without metadata (`metadata_stripper.py`); from other formats they return the profile.
"""

import zlib
from contextlib import suppress

from app.search.decode.metadata_stripper import jpeg_segments, png_chunks
from models.data.colour_profile import MAX_PROFILE_BYTES

_JPEG_APP2, _JPEG_NAME = 0xE2, b"ICC_PROFILE\0"
# A part follows the length of its segment, the name, its number from 1 on, and the number of parts.
_JPEG_HEAD = 4 + len(_JPEG_NAME) + 2


def jpeg_profile(data: bytes) -> bytes:
    """Return the profile of a JPEG; empty if there is none.

    A profile that lacks a part is returned without it, and counts as damaged: its length is not the declared one.
    """
    parts = dict[int, bytes]()
    for marker, at, end in jpeg_segments(data):
        if marker == _JPEG_APP2 and data.startswith(_JPEG_NAME, at + 4):
            parts.setdefault(data[at + _JPEG_HEAD - 2], data[at + _JPEG_HEAD : end])
    return b"".join(parts[number] for number in sorted(parts))


def png_profile(data: bytes) -> bytes:
    """Return the profile of a PNG; empty if there is none, or if the file says that its colours are sRGB.

    Of a profile that is larger than allowed, or that cannot be decompressed, only the beginning is returned.
    """
    profile = b""
    for chunk, at, end in png_chunks(data):
        if chunk == b"sRGB":
            return b""
        if chunk == b"iCCP" and not profile:
            profile = b"damaged"
            with suppress(zlib.error):
                # After the name, a zero, and a byte for the method of compression.
                packed = data[data.index(b"\0", at + 8, end) + 2 : end - 4]
                profile = zlib.decompressobj().decompress(packed, MAX_PROFILE_BYTES + 1)
        if chunk == b"IDAT":
            break
    return profile
