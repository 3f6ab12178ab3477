"""Find the ICC profile in a JPEG or PNG file (ICC.1:2022, annex B).

Pillow's decoders get these files without metadata (`metadata_stripper.py`); from other formats they return the profile.
"""

import zlib

from app.search.decode.metadata_stripper import jpeg_segments, png_chunks
from models.data.colour_profile import MAX_PROFILE_BYTES, ProfileError

_JPEG_APP2, _JPEG_NAME = 0xE2, b"ICC_PROFILE\0"
# A part follows the length of its segment, the name, its number from 1 on, and the number of parts.
_JPEG_HEAD = 4 + len(_JPEG_NAME) + 2


def jpeg_profile(data: bytes) -> bytes:
    """Return the profile of a JPEG; empty if there is none.

    Raises:
        ProfileError: a part of it is missing.
    """
    parts, count = dict[int, bytes](), 0
    for marker, at, end in jpeg_segments(data):
        if marker == _JPEG_APP2 and data.startswith(_JPEG_NAME, at + 4):
            number, count = data[at + _JPEG_HEAD - 2], data[at + _JPEG_HEAD - 1]
            parts.setdefault(number, data[at + _JPEG_HEAD : end])
    if sorted(parts) != list(range(1, count + 1)):
        raise ProfileError("incomplete")
    return b"".join(parts[number] for number in sorted(parts))


def png_profile(data: bytes) -> bytes:
    """Return the profile of a PNG; empty if there is none, or if the file says that its colours are sRGB.

    Raises:
        ProfileError: it cannot be decompressed, or is too large.
    """
    profile = b""
    for chunk, at, end in png_chunks(data):
        if chunk == b"sRGB":
            return b""
        if chunk == b"iCCP" and not profile:
            # After the name, a zero, and a byte for the method of compression.
            profile = _decompressed(data[at + 8 : end - 4].partition(b"\0")[2][1:])
        if chunk == b"IDAT":
            break
    return profile


def _decompressed(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(packed, MAX_PROFILE_BYTES)
    except zlib.error as error:
        raise ProfileError("damaged") from error
    if not stream.eof:
        raise ProfileError("incomplete or too large")
    return profile
