"""From an upright RGB image to the array that a network reads.

A network's preprocessing is part of what it is: it is stored in its checkpoint and counts in its fingerprint.
Normalising to a mean and a scale happens inside the network, so that batches travel as bytes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["stretch", "crop"]


@dataclass(frozen=True)
class Preprocess:
    """How an image is brought to the size and scale that a network was trained on.

    Attributes:
        size: side of the square input, in pixels.
        fit: `stretch` resizes both sides to `size`, `crop` cuts the middle square out first.
        mean: subtracted from 0…255, one number a channel.
        std: what the rest is divided by, one number a channel.
    """

    size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return `(size, size, 3)` uint8 of an RGB image."""
        box = _middle_square(image) if self.fit == "crop" else None
        # reducing_gap=None: every pixel counts, so that the result does not depend on a shortcut's rounding.
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box))


def _middle_square(image: Image.Image) -> tuple[float, float, float, float]:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side
