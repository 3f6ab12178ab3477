"""Complete JPEG files that lack their last bytes, but no pixel.

Interrupted transfers and some cameras lose the marker at the end of a file (EOI), and decoders then reject it. Whether
any pixel is missing is found by decoding: with different bytes appended to the data, a complete image stays the same,
and the pixels of one that is cut change.
"""

import re
from collections.abc import Callable, Iterator
from hashlib import blake2b, shake_128
from io import BytesIO

from PIL import ImageFile

_EOI, _FF = b"\xff\xd9", b"\xff"
# Markers in the data of a scan: neither a stuffed zero, nor a restart, nor padding.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SOI, _SOS, _END = 0xD8, 0xDA, 0xD9
# Start of frame; the other markers of this range define Huffman tables, arithmetic coding and a reserved extension.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COEFFICIENTS = 64
# A file whose last two bytes can go too has other data appended, so that its end is unknown.
_LAST_BYTES = 2
_PADDING_BYTES, _RESTARTS = 64, range(0xD0, 0xD8)

Decoder = Callable[[BytesIO], ImageFile.ImageFile]


def jpeg_with_end(data: bytes, decoder: Decoder) -> bytes | None:
    """Return a JPEG with the marker at its end, if only bytes after the last pixel are missing; else None.

    Zeros and 0xFF at the end are dropped: with them, transfers and file systems fill what is missing.

    Args:
        data: a JPEG file that cannot be decoded.
        decoder: opens a JPEG file; any exception means that it is damaged.

    Raises:
        Exception: the file is damaged.
    """
    body = data.rstrip(b"\0\xff")
    # 0xFF 0x00 may also be the last byte of the image.
    bodies = [body, body + b"\xff\0"] if data[len(body) :].startswith(_FF) else [body]
    for one in bodies:
        if _has_all_scans(one) and _is_complete(one, decoder) and not _is_complete(one[:-_LAST_BYTES], decoder):
            return one + _EOI
    return None


def _is_complete(body: bytes, decoder: Decoder) -> bool:
    """Whether the pixels do not depend on what follows the data."""
    digests = (_digest(body + padding + _EOI, decoder) for padding in _PADDINGS)
    first = next(digests)
    return all(digest == first for digest in digests)


def _digest(data: bytes, decoder: Decoder) -> bytes:
    image = decoder(BytesIO(data))
    image.load()
    return blake2b(image.tobytes(), digest_size=16).digest()


def _padding(seed: int) -> bytes:
    """Return random data for each of the eight restart intervals; its first bit is that of the seed."""
    parts = []
    for restart in _RESTARTS:
        random = shake_128(bytes((seed, restart))).digest(_PADDING_BYTES - 1).replace(_FF, b"\xa5")
        parts.append((b"\xd2", b"\x2d")[seed % 2] + random + bytes((0xFF, restart)))
    return b"".join(parts)


_PADDINGS = (b"", *map(_padding, range(4)))


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
    """Yield the marker and the content of each segment; the data of scans is skipped."""
    at = 0
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _END:
            return
        if marker != _SOI:
            length = int.from_bytes(data[at : at + 2])
            yield marker, data[at + 2 : at + length]
            at += max(length, 2)
