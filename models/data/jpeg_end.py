"""Complete JPEG files that lack their last bytes, but no pixel.

Interrupted transfers and some cameras lose the marker at the end of a file (EOI), and decoders then reject it. Whether
pixels are missing too is found by a decoder that reports damaged data, where others fill it with grey.
"""

import re
from collections.abc import Iterator

from simplejpeg import decode_jpeg, decode_jpeg_header

_EOI, _FF, _ZERO = b"\xff\xd9", b"\xff", b"\0"
_STUFFED = _FF + _ZERO  # a byte 0xFF of the image
# Markers in the data of a scan: neither a stuffed zero, nor a restart, nor padding.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SOI, _SOS, _END = 0xD8, 0xDA, 0xD9
# Start of frame; the other markers of this range define Huffman tables, arithmetic coding and a reserved extension.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COEFFICIENTS = 64
# The data is decoded to an eighth of its size, which reads all of it and computes little.
_SCALE = 8
_COLOUR_SPACES_OF_FOUR = ("CMYK", "YCCK")


def jpeg_with_end(data: bytes) -> bytes | None:
    """Return a JPEG with the marker at its end, if only bytes after the last pixel are missing; else None.

    Zeros and 0xFF at the end are dropped: with them, transfers and file systems fill what is missing. Bytes after the
    marker, such as the video of a phone's photograph, belong to no JPEG.
    """
    if any(marker == _END for marker, _ in _segments(data)):
        return None
    return next((whole for body in _bodies(data) if _is_complete(whole := body + _EOI)), None)


def _bodies(data: bytes) -> Iterator[bytes]:
    """Yield what a JPEG may be without the marker at its end, the most likely first."""
    body = data.rstrip(_ZERO + _FF)
    filling = data[len(body) :].rstrip(_FF)
    stuffed = filling.startswith(_STUFFED)
    if not filling[len(_STUFFED) * stuffed :].strip(_ZERO):  # zeros may be the image's own
        yield body + filling
    if stuffed:
        yield body + _STUFFED
    if data[len(body) :] == _FF:  # half of the two bytes that stand for 0xFF
        yield body + _STUFFED
    if filling:
        yield body


def _is_complete(data: bytes) -> bool:
    try:
        if not _has_all_scans(data):
            return False
        *_, colours, _ = decode_jpeg_header(data)
        decode_jpeg(data, "CMYK" if colours in _COLOUR_SPACES_OF_FOUR else "GRAY", min_factor=_SCALE, strict=True)
    # The exceptions of a malformed header or a damaged image.
    except (ValueError, IndexError, KeyError):
        return False
    return True


def _has_all_scans(data: bytes) -> bool:
    """Whether the file has every coefficient of every component at full precision, if its last scan is complete."""
    missing: dict[int, set[int]] = {}
    for marker, segment in _segments(data):
        if marker in _FRAMES:
            missing = {segment[6 + 3 * at]: set(range(_COEFFICIENTS)) for at in range(segment[5])}
        elif marker == _SOS:
            count = segment[0]
            first, last, precision = segment[1 + 2 * count : 4 + 2 * count]
            if precision % 16 == 0:
                for at in range(count):
                    missing[segment[1 + 2 * at]] -= set(range(first, last + 1))
    return bool(missing) and not any(missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the content of each segment, up to the end; the data of scans is skipped."""
    at = 0
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _END:
            yield marker, b""
            return
        if marker != _SOI:
            length = int.from_bytes(data[at : at + 2])
            yield marker, data[at + 2 : at + length]
            at += max(length, 2)
