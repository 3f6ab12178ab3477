"""Rasterise parts to antialiased masks.

A part is drawn as a polygon at three times the size and averaged down for smooth edges, in a window just large enough
for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from app.demo.curves import Curve
from app.demo.parts import Part
from app.demo.patterns import Field

SIZE = 320
FINE = 3  # supersampling factor of polygons
COARSE = 4  # downscaling factor of blurs
MIN_EXTENT = 62.0  # minimum extent of a drawing in units, so that small objects are not enlarged
MARGIN = 16  # pixels around a part for its light and shadow


@dataclass(frozen=True)
class Frame:
    """Transformation from drawing units to pixels.

    Attributes:
        unit: pixels per unit.
        middle: point, in units, at the centre of the image.
    """

    unit: float
    middle: tuple[float, float]

    def pixels(self, curve: Curve) -> Curve:
        """Convert a curve from units to pixels."""
        pixels: Curve = (curve - np.array(self.middle)) * self.unit + SIZE / 2
        return pixels

    def grid(self, area: "Mask") -> tuple[Field, Field]:
        """Return the pixel centres of a window in units: x (1, width) and y (height, 1)."""
        at = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5 - SIZE / 2)) / np.float32(self.unit)
        (width, height), (x, y) = area.image.size, np.array(self.middle, dtype=np.float32)
        return x + at[None, area.left : area.left + width], y + at[area.top : area.top + height, None]


def fit(parts: Iterable[Part], share: float) -> Frame:
    """Centre a drawing so that it spans at most this share of the image."""
    corners = [(part.curve.min(axis=0), part.curve.max(axis=0)) for part in parts if part.clip is None]
    low = np.min([corner for corner, _ in corners], axis=0)
    high = np.max([corner for _, corner in corners], axis=0)
    middle = (low + high) / 2
    extent = max(float(np.max(high - low)), MIN_EXTENT)
    return Frame(SIZE * share / extent, (float(middle[0]), float(middle[1])))


@dataclass(frozen=True)
class Mask:
    """Coverage of each pixel of a window, as an 8-bit image, and the window's position."""

    left: int
    top: int
    image: Image.Image


def mask(part: Part, frame: Frame) -> Mask:
    """Rasterise a part."""
    points, unit = frame.pixels(part.curve), frame.unit
    margin = MARGIN if part.relief or part.lift else 2
    left, top, right, bottom = _window(points, margin + (part.width / 2 + 2 * part.soft) * unit)
    size, corner = ((right - left) * FINE, (bottom - top) * FINE), np.array([left, top])
    image = Image.new("L", size)
    _trace(ImageDraw.Draw(image), (points - corner) * FINE, part, unit * FINE)
    image = image.reduce(FINE)
    if part.soft:
        image = blur(image, part.soft * unit)
    if part.clip is not None:
        clip = Image.new("L", size)
        ImageDraw.Draw(clip).polygon(_flat((frame.pixels(part.clip) - corner) * FINE), fill=255)
        image = ImageChops.multiply(image, clip.reduce(FINE))
    return Mask(left, top, image)


def union(masks: Iterable[Mask]) -> Mask:
    """Merge masks into one silhouette of the size of the image."""
    whole = Image.new("L", (SIZE, SIZE))
    for part in masks:
        whole.paste(255, (part.left, part.top), part.image)
    return Mask(0, 0, whole)


def blur(image: Image.Image, radius: float) -> Image.Image:
    """Blur at a reduced size, for speed; the image's sides must be multiples of COARSE."""
    small = image.reduce(COARSE).filter(ImageFilter.GaussianBlur(radius / COARSE))
    return small.resize(image.size, Image.Resampling.BILINEAR)


def _window(points: Curve, margin: float) -> tuple[int, int, int, int]:
    """Return the bounding box of points with a margin, within the image, aligned to multiples of COARSE."""
    left, top = (max(0, int((low - margin) // COARSE) * COARSE) for low in points.min(axis=0))
    right, bottom = (min(SIZE, -int((-high - margin) // COARSE) * COARSE) for high in points.max(axis=0))
    return left, top, right, bottom


def _trace(brush: ImageDraw.ImageDraw, points: Curve, part: Part, unit: float) -> None:
    """Draw a filled area, a line or a dashed line."""
    fill = round(255 * part.opacity)
    if not part.width:
        brush.polygon(_flat(points), fill=fill)
        return
    width = max(1, round(part.width * unit))
    for run in dashes(points, part.dash * unit) if part.dash else [points]:
        brush.line(_flat(run), fill=fill, width=width, joint="curve")
        for x, y in (run[0], run[-1]) if not part.dash else ():
            brush.circle((x, y), width / 2, fill=fill)


def dashes(points: Curve, length: float) -> list[Curve]:
    """Split a line into straight dashes with gaps of the same length."""
    steps = points[1:] - points[:-1]
    along = np.concatenate([[0.0], np.cumsum(np.sqrt(steps[:, 0] ** 2 + steps[:, 1] ** 2))])
    starts = np.arange(length / 2, along[-1] - length, 2 * length)
    ends = np.stack([starts, starts + length], axis=1)
    x, y = (np.interp(ends, along, points[:, axis]) for axis in (0, 1))
    return list(np.stack([x, y], axis=2))


def _flat(points: Curve) -> list[float]:
    """Flatten points to x, y, x, y, ..."""
    flat: list[float] = points.ravel().tolist()
    return flat
