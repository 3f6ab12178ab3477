"""Preprocessing: from an upright RGB image to the array that a network reads.

It is part of a network: stored in its checkpoint and included in its fingerprint. Normalisation to a mean and a scale
happens inside the network, so that batches travel as bytes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["stretch", "crop"]


@dataclass(frozen=True)
class Preprocess:
    """Resizing and scaling that a network was trained with.

    Attributes:
        size: side of the square input, in pixels.
        fit: `stretch` resizes both sides to `size`; `crop` cuts out the central square first.
        mean: subtracted from 0…255, one number per channel.
        std: divisor after that, one number per channel.
    """

    size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize an RGB image to `(size, size, 3)` uint8."""
        box = _central_square(image) if self.fit == "crop" else None
        # reducing_gap=None: a shortcut would let the result depend on its rounding.
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box))


def _central_square(image: Image.Image) -> tuple[float, float, float, float]:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side
