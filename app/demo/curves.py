"""Outlines as curves: how every shape of the demo catalogue is described.

A curve is an array of points on a square of 100 × 100 units, x to the right and y down. Shapes are written as
a path of lines and Bézier curves; a symmetric one as its right half. Knows nothing of pixels or colours.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""(n, 2) points."""

AXIS = 50.0
ROUND = 0.5523  # the control length with which four cubic curves make a circle


def path(start: tuple[float, float], *steps: tuple[float, ...]) -> Curve:
    """Follow steps from a start; each step is flat numbers that end in the point it reaches.

    Two numbers are a line, four a quadratic curve (one control point first), six a cubic one (two).
    """
    points = [np.array([start])]
    for step in steps:
        controls = np.array(step, dtype=np.float64).reshape(-1, 2)
        points.append(_bezier(np.vstack([points[-1][-1:], controls])))
    return np.vstack(points)


def _bezier(controls: Curve) -> Curve:
    """Sample a Bézier curve by de Casteljau's construction, without its first point."""
    count = 1 if len(controls) == 2 else 14  # noqa: PLR2004 - two points are a straight line
    t = np.linspace(0, 1, count + 1)[1:, None]
    levels = [np.repeat(point[None], count, axis=0) for point in controls]
    while len(levels) > 1:
        levels = [a + (b - a) * t for a, b in pairwise(levels)]
    return levels[0]


def flip(curve: Curve) -> Curve:
    """Mirror left and right."""
    return np.column_stack([2 * AXIS - curve[:, 0], curve[:, 1]])


def mirrored(half: Curve) -> Curve:
    """Complete a symmetric curve from its right half, which starts or ends on the axis.

    As a line it runs from the left end through the half's start to the right end.
    """
    return np.vstack([flip(half)[::-1], half])


def join(*curves: Curve) -> Curve:
    """One curve after another."""
    return np.vstack(curves)


def ellipse(x: float, y: float, rx: float, ry: float) -> Curve:
    """The ellipse around a centre."""
    a, b = rx * ROUND, ry * ROUND
    return path(
        (x, y - ry),
        (x + a, y - ry, x + rx, y - b, x + rx, y),
        (x + rx, y + b, x + a, y + ry, x, y + ry),
        (x - a, y + ry, x - rx, y + b, x - rx, y),
        (x - rx, y - b, x - a, y - ry, x, y - ry),
    )


def box(left: float, top: float, right: float, bottom: float, radius: float = 1.0) -> Curve:
    """A rectangle with round corners."""
    r = radius
    return path(
        (left + r, top),
        (right - r, top),
        (right, top, right, top + r),
        (right, bottom - r),
        (right, bottom, right - r, bottom),
        (left + r, bottom),
        (left, bottom, left, bottom - r),
        (left, top + r),
        (left, top, left + r, top),
    )
