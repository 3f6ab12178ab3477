"""Outlines of the demo drawings as curves.

A curve is an array of points on a square of 100 × 100 units, x to the right and y down. Shapes are paths of lines and
Bézier curves; symmetric ones are given by their right half.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""(n, 2) points."""

AXIS = 50.0
ROUND = 0.5523  # control length with which four cubic curves approximate a circle


def path(start: tuple[float, float], *steps: tuple[float, ...]) -> Curve:
    """Build a curve from a start point and steps.

    A step of two numbers is a line to that point, four are a quadratic Bézier curve (control point, end), six a cubic
    one (two control points, end).
    """
    points = [np.array([start])]
    for step in steps:
        controls = np.array(step, dtype=np.float64).reshape(-1, 2)
        points.append(_bezier(np.vstack([points[-1][-1:], controls])))
    return np.vstack(points)


def _bezier(controls: Curve) -> Curve:
    """Sample a Bézier curve by de Casteljau's algorithm, without its first point."""
    count = 1 if len(controls) == 2 else 14  # noqa: PLR2004 - two points are a straight line
    t = np.linspace(0, 1, count + 1)[1:, None]
    levels = [np.repeat(point[None], count, axis=0) for point in controls]
    while len(levels) > 1:
        levels = [a + (b - a) * t for a, b in pairwise(levels)]
    return levels[0]


def flip(curve: Curve) -> Curve:
    """Mirror a curve at the vertical axis."""
    return np.column_stack([2 * AXIS - curve[:, 0], curve[:, 1]])


def mirrored(half: Curve) -> Curve:
    """Complete a symmetric curve from its right half, which starts or ends on the axis.

    The points run from the left end through the half's start to the right end.
    """
    return np.vstack([flip(half)[::-1], half])


def join(*curves: Curve) -> Curve:
    """Concatenate curves."""
    return np.vstack(curves)


def ellipse(x: float, y: float, rx: float, ry: float) -> Curve:
    """An ellipse with a centre and two radii."""
    a, b = rx * ROUND, ry * ROUND
    return path(
        (x, y - ry),
        (x + a, y - ry, x + rx, y - b, x + rx, y),
        (x + rx, y + b, x + a, y + ry, x, y + ry),
        (x - a, y + ry, x - rx, y + b, x - rx, y),
        (x - rx, y - b, x - a, y - ry, x, y - ry),
    )


def box(left: float, top: float, right: float, bottom: float, radius: float = 1.0) -> Curve:
    """A rectangle with rounded corners."""
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
