"""Build ICC profiles (ICC.1:2001-04), valid and malformed."""

import struct
from collections.abc import Mapping
from functools import cache

import numpy as np
from PIL import Image, ImageCms

# Colorants of the primaries, adapted to D50: one column for each of red, green and blue.
DISPLAY_P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
ADOBE_RGB = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
PROPHOTO = ((0.79767, 0.13519, 0.03134), (0.28804, 0.71188, 0.00009), (0.0, 0.0, 0.82510))
SRGB_GAMMA, ADOBE_GAMMA, PROPHOTO_GAMMA = 2.2, 2.19921875, 1.8
_WHITE = (0.9642, 1.0, 0.8249)


def profile(space: bytes, tags: Mapping[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    """A profile of version 2 with these tags."""
    tags = {b"desc": _text(b"desc"), b"cprt": _text(b"text"), b"wtpt": _xyz(_WHITE), **tags}
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data.ljust(-(-len(data) // 4) * 4, b"\0")
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"none", 0x02100000, kind, space, connection, bytes(12), b"acsp")
    head += bytes(4 + 4 + 4 + 4 + 8 + 4) + _xyz(_WHITE)[8:]
    return head.ljust(128, b"\0") + table + body


def rgb(colorants: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """A profile of RGB with primaries and one gamma."""
    columns = zip(*colorants, strict=True)
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma)))


def grey(gamma: float) -> bytes:
    """A profile of grey with a gamma."""
    return profile(b"GRAY", {b"kTRC": _gamma(gamma)})


@cache
def cmyk(red_of_cyan: float = 0.0) -> bytes:
    """A profile of CMYK with two grid points per ink; full cyan has this much red, from 0 to 1."""
    ramp = bytes(range(256))
    srgb = ImageCms.createProfile("sRGB")
    to_lab = ImageCms.buildTransform(srgb, ImageCms.createProfile("LAB"), "RGB", "LAB")
    colours = []
    for point in np.ndindex(2, 2, 2, 2):
        cyan, magenta, yellow, black = point
        light = [1 - cyan * (1 - red_of_cyan), 1 - magenta, 1 - yellow]
        colours.append([round(255 * channel * (1 - black)) for channel in light])
    lab = ImageCms.applyTransform(Image.fromarray(np.array([colours], np.uint8)), to_lab)
    table = np.asarray(lab).astype(np.int16)
    # Pillow's a and b are signed; a lut8's have an offset of 128.
    table[..., 1:] = (table[..., 1:] + 128) % 256
    head = struct.pack(">4sI4B", b"mft1", 0, 4, 3, 2, 0)
    identity = struct.pack(">9i", *(65536 * (row == column) for row in range(3) for column in range(3)))
    lut = head + identity + 4 * ramp + table.astype(np.uint8).tobytes() + 3 * ramp
    return profile(b"CMYK", {b"A2B0": lut, b"A2B1": lut}, b"Lab ", b"prtr")


def _text(kind: bytes) -> bytes:
    name = b"made for a test\0"
    if kind == b"text":
        return b"text" + bytes(4) + name
    return b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(4 + 4 + 2 + 1 + 67)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma))
