"""Fabric patterns: functions from coordinates to the weight of the second colour.

A pattern takes coordinates in units and returns float32 weights of their broadcast shape. Edges are soft, for smooth
pixels. Only operations whose rounding IEEE 754 specifies are used, no sines or powers, so that the pixels are the same
on every machine.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Pattern = Callable[[Field, Field], Field]

EDGE = np.float32(0.35)  # width of the transition between the colours, in units


def inside(distance: Field) -> Field:
    """Convert a signed distance in units (negative inside) to a weight with a smooth edge."""
    weight: Field = np.clip(np.float32(0.5) - distance / EDGE, 0, 1)
    return weight


def wave(at: Field, period: float) -> Field:
    """Triangle wave from 0 to half a period: the distance to the nearest multiple of the period."""
    half = np.float32(period / 2)
    distance: Field = np.abs((at + half) % np.float32(period) - half)
    return distance


def plain(x: Field, y: Field) -> Field:
    """No pattern."""
    return np.zeros_like(x + y)


def stripes(x: Field, y: Field) -> Field:
    """Horizontal bands."""
    return inside(wave(y, 7.2) - np.float32(1.35)) + 0 * x


def pinstripes(x: Field, y: Field) -> Field:
    """Narrow vertical lines."""
    return inside(wave(x - 50, 4.8) - np.float32(0.62)) + 0 * y


def checks(x: Field, y: Field) -> Field:
    """Gingham: two sets of bands, darkest where they cross."""
    across, down = inside(wave(x - 50, 7) - np.float32(1.75)), inside(wave(y, 7) - np.float32(1.75))
    return (across + down) * np.float32(0.5)


def dots(x: Field, y: Field) -> Field:
    """Round dots, every other row shifted."""
    return np.maximum(_dot(x - 50, y), _dot(x - np.float32(46.4), y - np.float32(3.6)))


def _dot(x: Field, y: Field) -> Field:
    dx, dy = wave(x, 7.2), wave(y, 7.2)
    return inside(np.sqrt(dx * dx + dy * dy) - np.float32(1.3))


def zigzag(x: Field, y: Field) -> Field:
    """Chevrons."""
    return inside(wave(y + wave(x - 50, 7.5), 7.5) - np.float32(1.25))


def block(x: Field, y: Field) -> Field:
    """Two blocks, the lower one in the second colour."""
    return inside(np.float32(54) - y) + 0 * x


def floral(x: Field, y: Field) -> Field:
    """Flowers with five petals, large ones between small ones."""
    large = _flower(x - 50, y, 13, 3.1)
    small = _flower(x - np.float32(43.5), y - np.float32(6.5), 13, 1.9)
    return np.maximum(large, small)


def _flower(x: Field, y: Field, period: float, radius: float) -> Field:
    half = np.float32(period / 2)
    dx, dy = (x + half) % np.float32(period) - half, (y + half) % np.float32(period) - half
    r = np.sqrt(dx * dx + dy * dy) + np.float32(1e-3)
    c = dy / r
    cc = c * c
    petals = c * (5 + cc * (16 * cc - 20))  # cos 5θ
    rim = r - np.float32(radius) * (np.float32(0.74) + np.float32(0.26) * petals)
    return inside(rim) * (1 - inside(r - np.float32(radius * 0.3)))


PATTERNS: dict[str, Pattern] = {
    "plain": plain,
    "stripes": stripes,
    "pinstripes": pinstripes,
    "checks": checks,
    "dots": dots,
    "zigzag": zigzag,
    "colour block": block,
    "floral": floral,
}
