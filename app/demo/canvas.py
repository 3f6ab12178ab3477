"""Render a drawing: background, cast shadow, and the parts from back to front in soft light.

Light and shadows are blurred masks.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from app.demo.masks import COARSE, SIZE, Frame, Mask, blur, fit, mask, union
from app.demo.palette import Colour, mix
from app.demo.parts import Part
from app.demo.patterns import Field, Pattern, plain

WHITE = (255, 255, 255)


def draw(
    parts: Sequence[Part], colours: Mapping[str, Colour], pattern: Pattern, wall: Colour, share: float = 0.78
) -> Image.Image:
    """Render parts from back to front into an RGB image of 320 × 320 pixels.

    Args:
        parts: from back to front.
        colours: by role.
        pattern: printed on parts whose role is `cloth`.
        wall: colour of the background.
        share: of the image's side that the drawing spans at most.
    """
    frame, picture, shadow = fit(parts, share), _background(wall), colours["shadow"]
    masks = [mask(part, frame) for part in parts]
    silhouette = union(area for part, area in zip(parts, masks, strict=True) if part.solid)
    _fill(picture, _shadow(silhouette, (4, 10), 8), shadow, 0.27)
    for part, area in zip(parts, masks, strict=True):
        if part.lift:
            _fill(picture, _shadow(area, (1, 3), 4), shadow, 0.45 * part.lift)
        _fill(picture, area, colours[part.ink])
        if part.ink == "cloth" and pattern is not plain:
            _fill(picture, _print(part, area, frame, pattern), colours["trim"])
        if part.relief:
            _light(picture, area, mix(colours[part.ink], shadow, 0.8), part.relief)
    return picture


def _background(colour: Colour) -> Image.Image:
    """Render a wall, brightest at the upper left."""
    at = np.arange(SIZE // COARSE, dtype=np.float32) * np.float32(COARSE / SIZE)
    across, down = at[None, :] - np.float32(0.4), at[:, None] - np.float32(0.3)
    glow = 6 - 14 * (across * across + down * down)
    pixels = np.clip(np.array(colour, dtype=np.float32) + glow[..., None], 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def _fill(picture: Image.Image, area: Mask, colour: Colour, opacity: float = 1) -> None:
    """Fill an area with one colour."""
    image = area.image if opacity == 1 else area.image.point(_scaled(opacity))
    if box := image.getbbox():  # cropped, because pasting dominates the time
        picture.paste(colour, (area.left + box[0], area.top + box[1]), image.crop(box))


@cache
def _scaled(opacity: float) -> list[int]:
    """Return how much each value of a mask covers at an opacity."""
    return [round(covered * opacity) for covered in range(256)]


def _shadow(area: Mask, offset: tuple[int, int], radius: float) -> Mask:
    """Return an area's soft shadow, shifted by an offset in pixels."""
    return Mask(area.left, area.top, ImageChops.offset(blur(area.image, radius), *offset))


def _print(part: Part, area: Mask, frame: Frame, pattern: Pattern) -> Mask:
    """Return the mask of the pattern's second colour on a part, slanted and bent like its cloth."""
    x, y = frame.grid(area)
    low, high = part.curve.min(axis=0), part.curve.max(axis=0)
    (middle_x, middle_y), half = (low + high) / 2, (high[0] - low[0]) / 2
    across, down = x - np.float32(middle_x), y - np.float32(middle_y)
    side = across / np.float32(half)
    slope, length = np.float32(part.slope), np.float32(math.sqrt(1 + part.slope * part.slope))
    along = np.float32(middle_x) + (across + slope * down) / length
    drop = np.float32(middle_y) + (down - slope * across) / length - np.float32(part.bend) * (1 - side * side)
    weights = pattern(along.astype(np.float32), drop.astype(np.float32))
    return Mask(area.left, area.top, ImageChops.multiply(area.image, _bytes(weights)))


def _light(picture: Image.Image, area: Mask, dark: Colour, relief: float) -> None:
    """Shade an area as a rounded surface that is lit from the upper left."""
    small = area.image.reduce(COARSE).filter(ImageFilter.GaussianBlur(2))
    height = np.asarray(small, dtype=np.float32) / np.float32(255)
    slope = np.roll(height, (-2, -2), (0, 1)) - np.roll(height, (2, 2), (0, 1))
    for side, tone, strength in ((slope, WHITE, 0.34), (-slope, dark, 0.4)):
        shade = _bytes(side * np.float32(strength * relief)).resize(area.image.size, Image.Resampling.BILINEAR)
        _fill(picture, Mask(area.left, area.top, ImageChops.multiply(area.image, shade)), tone)


def _bytes(weights: Field) -> Image.Image:
    """Convert weights from 0 to 1 to an 8-bit image."""
    return Image.fromarray((np.clip(weights, 0, 1) * np.float32(255)).astype(np.uint8))
