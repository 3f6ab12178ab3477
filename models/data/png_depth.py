"""Convert PNG images of 16, 4 and 2 bits per sample to 8 bits, with the colour that is transparent.

Pillow scales the pixels, but clips 16-bit grey, and leaves the transparent colour of the `tRNS` chunk as it is stored.
"""

import numpy as np
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH_OFFSET, _BYTE_BITS = 24, 8


def png_bit_depth(data: bytes) -> int:
    """Return the bits per sample of a PNG file; 8 for other files."""
    is_png = data.startswith(_SIGNATURE) and len(data) > _DEPTH_OFFSET
    return data[_DEPTH_OFFSET] if is_png else _BYTE_BITS


def to_8_bit(image: Image.Image, depth: int) -> Image.Image:
    """Return an image with 8 bits per sample.

    Args:
        image: a loaded image of any mode; one of 16-bit grey keeps the high bytes.
        depth: bits per sample of its PNG file, as `png_bit_depth` returns them.
    """
    if image.mode == "I;16":
        return _grey_from_16_bit(image)
    transparent = image.info.get("transparency")
    if depth > _BYTE_BITS and image.mode == "RGB" and isinstance(transparent, tuple):
        image.info["transparency"] = tuple(value >> _BYTE_BITS for value in transparent)
    elif depth < _BYTE_BITS and image.mode == "L" and isinstance(transparent, int):
        image.info["transparency"] = transparent % 2**depth * 255 // (2**depth - 1)
    return image


def _grey_from_16_bit(image: Image.Image) -> Image.Image:
    data = image.tobytes()
    grey = Image.frombytes("L", image.size, data[1::2])
    # Values are compared at full precision, as the PNG standard requires.
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        opaque = np.frombuffer(data, "<u2") != transparent
        alpha = Image.frombytes("L", image.size, np.where(opaque, 255, 0).astype(np.uint8).tobytes())
        grey = Image.merge("LA", (grey, alpha))
    return grey
