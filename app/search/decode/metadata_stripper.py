"""Strip an image file of metadata and further frames, keeping what its pixels depend on.

Pillow's decoders also read profiles, comments, previews and animations, and warn about malformed ones; Python 3.11
cannot silence warnings for a single thread. Without these parts, the code that warns is not reached. Each function
raises ValueError, IndexError or struct.error if the file is malformed.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from PIL.JpegImagePlugin import JpegImageFile

from models.data.orientation import RAW_PROFILES, exif_of_raw_profile

# Pillow reads the segments of a header one by one in Python, some at quadratic cost: 20 MB of the smallest would take
# half a minute. A large PNG has a few thousand.
MAX_SEGMENTS = 50_000
JPEG_SCAN = 0xDA
JPEG_EXIF = 0xE1
# What the pixels depend on: frames and Huffman tables, quantization tables, restart interval, JFIF, Adobe.
JPEG_SEGMENTS = frozenset((*range(0xC0, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE))
JPEG_MARKERS_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xDA), 0xFF))
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
PNG_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
PNG_RAW_PROFILES = tuple(name.encode() for name in RAW_PROFILES)
# A JPEG's EXIF has at most 64 KB; each byte takes two digits.
MAX_RAW_PROFILE = 1_000_000
GIF_GRAPHIC_CONTROL = 0xF9


class StillJpeg(JpegImageFile):
    """JPEG decoder that does not look up the resolution, for which Pillow would read all EXIF, and warn."""

    def _open(self) -> None:
        self.info["dpi"] = (72, 72)
        super()._open()


def still_jpeg(data: bytes) -> bytes:
    """Keep pixel data and the first EXIF segment; drop profiles, comments, previews and padding."""
    kept, exif = [data[:2]], b""
    for marker, at, end in jpeg_segments(data):
        if marker == JPEG_SCAN:
            return b"".join((*kept, exif, data[at:]))
        if marker in JPEG_SEGMENTS:
            kept.append(data[at:end])
        elif marker == JPEG_EXIF and data[at + 4 : at + 10] == b"Exif\0\0":
            exif = exif or data[at:end]
    raise ValueError("too many segments")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, begin and end of at most `MAX_SEGMENTS` segments of a JPEG, up to the first scan."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        length = 1 if marker in JPEG_MARKERS_WITHOUT_LENGTH else 2 + int.from_bytes(data[at + 2 : at + 4])
        yield marker, at, at + length
        if marker == JPEG_SCAN:
            return
        at += length


def still_png(data: bytes) -> bytes:
    """Keep pixel data and EXIF; drop animation, which can cause warnings, and compressed text and profiles."""
    kept, exif = [data[:8]], b""
    for chunk, at, end in png_chunks(data):
        if chunk in PNG_CHUNKS:
            kept.append(data[at:end])
        elif chunk in PNG_TEXT_CHUNKS and not exif:
            exif = _raw_profile(chunk, data[at + 8 : end - 4])
    return b"".join(kept) if not exif else _with_png_exif(kept, exif)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, begin and end of each chunk of a PNG.

    Raises:
        ValueError: there are more than `MAX_SEGMENTS`.
    """
    at = 8
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            return
        length, chunk = struct.unpack_from(">I4s", data, at)
        yield chunk, at, at + length + 12
        at += length + 12
    raise ValueError("too many segments")


def _with_png_exif(chunks: list[bytes], exif: bytes) -> bytes:
    """Join a PNG's chunks, with EXIF as an `eXIf` chunk after the header, unless there is one already."""
    if any(chunk[4:8] == b"eXIf" for chunk in chunks[1:]):
        return b"".join(chunks)
    body = b"eXIf" + exif
    added = struct.pack(">I", len(exif)) + body + struct.pack(">I", zlib.crc32(body))
    return b"".join((*chunks[:2], added, *chunks[2:]))


def _raw_profile(chunk: bytes, body: bytes) -> bytes:
    """Return the EXIF that ImageMagick stored in a text chunk; empty if there is none or it is malformed."""
    keyword, _, rest = body.partition(b"\0")
    if keyword not in PNG_RAW_PROFILES:
        return b""
    with suppress(IndexError, zlib.error):
        return exif_of_raw_profile(_png_text(chunk, rest))
    return b""


def _png_text(chunk: bytes, body: bytes) -> bytes:
    """Return at most `MAX_RAW_PROFILE` bytes of a text chunk's text, from what follows its keyword."""
    compressed, text = chunk == b"zTXt", body[1:] if chunk == b"zTXt" else body
    if chunk == b"iTXt":
        compressed, text = body[0] == 1, body[2:].split(b"\0", 2)[2]
    return zlib.decompressobj().decompress(text, MAX_RAW_PROFILE) if compressed else text[:MAX_RAW_PROFILE]


def still_gif(data: bytes) -> bytes:
    """Drop extensions before the first frame, and enlarge the screen to hold it, as Pillow would with a warning."""
    start = 13 + (6 << (data[10] & 7) if data[10] & 0x80 else 0)
    at, control = start, b""
    for _ in range(MAX_SEGMENTS):
        if data[at] == ord(","):
            return data[:6] + _gif_screen(data, at) + data[10:start] + control + data[at:]
        end = _gif_extension_end(data, at)
        if data[at + 1] == GIF_GRAPHIC_CONTROL:
            control = data[at:end]
        at = end
    raise ValueError("too many segments")


def _gif_screen(data: bytes, frame: int) -> bytes:
    left, top, width, height = struct.unpack_from("<4H", data, frame + 1)
    screen_width, screen_height = struct.unpack_from("<2H", data, 6)
    return struct.pack("<2H", max(screen_width, left + width), max(screen_height, top + height))


def _gif_extension_end(data: bytes, at: int) -> int:
    if data[at] != ord("!"):
        raise ValueError("neither a frame nor an extension")
    at += 2
    while data[at]:
        at += 1 + data[at]
    return at + 1


def still_avif(data: bytes) -> bytes:
    """Drop EXIF, which can cause warnings: AVIF stores the orientation separately, where Pillow reads it."""
    return re.sub(rb"(infe.{8,10})Exif", rb"\1free", data, flags=re.DOTALL)
