"""Strip an image file of metadata and further frames, keeping what its pixels depend on.

Pillow's decoders also read profiles, comments, previews and animations, and warn about malformed ones; Python 3.11
cannot silence warnings for a single thread. Without these parts, the code that warns is not reached. Each function
raises ValueError, IndexError or struct.error if the file is malformed.
"""

import re
import struct

from PIL.JpegImagePlugin import JpegImageFile

# Pillow reads the segments of a header one by one in Python, some at quadratic cost: 20 MB of the smallest would take
# half a minute. A large PNG has a few thousand.
MAX_SEGMENTS = 50_000
JPEG_SCAN = 0xDA
JPEG_EXIF = 0xE1
# What the pixels depend on: frames and Huffman tables, quantization tables, restart interval, JFIF, Adobe.
JPEG_SEGMENTS = frozenset((*range(0xC0, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE))
JPEG_MARKERS_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xDA), 0xFF))
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
GIF_GRAPHIC_CONTROL = 0xF9


class StillJpeg(JpegImageFile):
    """JPEG decoder that does not look up the resolution, for which Pillow would read all EXIF, and warn."""

    def _open(self) -> None:
        self.info["dpi"] = (72, 72)
        super()._open()


def still_jpeg(data: bytes) -> bytes:
    """Keep pixel data and the first EXIF segment; drop profiles, comments, previews and padding."""
    kept, exif, at = [data[:2]], b"", 2
    for _ in range(MAX_SEGMENTS):
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker == JPEG_SCAN:
            return b"".join((*kept, exif, data[at:]))
        length = 1 if marker in JPEG_MARKERS_WITHOUT_LENGTH else 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker in JPEG_SEGMENTS:
            kept.append(data[at : at + length])
        elif marker == JPEG_EXIF and data[at + 4 : at + 10] == b"Exif\0\0":
            exif = exif or data[at : at + length]
        at += length
    raise ValueError("too many segments")


def still_png(data: bytes) -> bytes:
    """Keep pixel data and EXIF; drop animation, which can cause warnings, and compressed text and profiles."""
    kept, at = [data[:8]], 8
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            return b"".join(kept)
        length, chunk = struct.unpack_from(">I4s", data, at)
        if chunk in PNG_CHUNKS:
            kept.append(data[at : at + length + 12])
        at += length + 12
    raise ValueError("too many segments")


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
