"""Whether two files show the same picture, by their pixels: scaled, recompressed, or saved in another format.

F7 does not decide this: photographs of two articles taken in the same way can be nearer by F7 than a picture and its
copy of half the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pixels of a signature, and the largest difference between two cells of one picture, as a mean of three channels of
# 0…255. Copies differ by 11 at most, scaled to a half and compressed as JPEG of quality 50; other articles of a shop
# that are photographed in the same way by 20 at least (`benchmarks/similarity/duplicates.py`).
SIDE, MAX_DIFFERENCE = 16, 15.0


@dataclass(frozen=True)
class Signature:
    """A picture for comparison: its proportions and its pixels, much reduced.

    Attributes:
        width: width of the upright image, in pixels.
        height: height of the upright image, in pixels.
        pixels: `(SIDE, SIDE, 3)` int16, RGB 0…255: means over the cells of a grid that covers the whole image.
    """

    width: int
    height: int
    pixels: NDArray[np.int16]


def signature(image: Image.Image, width: int, height: int) -> Signature:
    """Return the signature of an RGB image that was stretched, or is reduced, from `width` × `height` pixels."""
    return Signature(width, height, np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)).astype(np.int16))


def same_picture(one: Signature, other: Signature) -> bool:
    """Return whether two signatures are of the same picture."""
    return bool(same_pictures(one, [other])[0])


def same_pictures(one: Signature, others: Sequence[Signature]) -> NDArray[np.bool_]:
    """Return which signatures are of the same picture as one, `(n,)`."""
    same = np.array([same_proportions(one, other) for other in others], np.bool_)
    alike = np.flatnonzero(same)
    if len(alike):
        differences = np.abs(np.stack([others[at].pixels for at in alike.tolist()]) - one.pixels)
        same[alike] = differences.sum(axis=3, dtype=np.int16).max(axis=(1, 2)) <= 3 * MAX_DIFFERENCE
    return same


class Sized(Protocol):
    """Something with the width and the height of an upright image, in pixels."""

    @property
    def width(self) -> int:
        """The width."""
        ...

    @property
    def height(self) -> int:
        """The height."""
        ...


def same_proportions(one: Sized, other: Sized) -> bool:
    """Return whether scaling one to the size of the other is off by less than a pixel or so."""
    off = abs(one.width * other.height - other.width * one.height)
    return off <= max(one.width + one.height, other.width + other.height)
