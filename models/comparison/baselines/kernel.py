"""A Gaussian kernel on anchors, as KSH and BRE use it: features → how near they are to some of the images."""

from dataclasses import dataclass

import numpy as np

from models.network.codes import Floats


@dataclass(frozen=True)
class Kernel:
    """κ(x, anchor) = exp(−‖x − anchor‖² / 2σ²), less its mean over the images that it was made with.

    Attributes:
        anchors: `(m, d)`.
        width: σ², the mean squared distance, as the authors of KSH set it.
        mean: `(m,)`.
    """

    anchors: Floats
    width: float
    mean: Floats

    @classmethod
    def of(cls, anchors: Floats, features: Floats) -> "Kernel":
        """Set width and mean by features `(n, d)`."""
        width = max(float(squared_distances(features, anchors).mean()), float(np.finfo(np.float32).tiny))
        uncentred = cls(anchors, width, np.zeros(len(anchors), np.float32))
        return cls(anchors, width, uncentred(features).mean(axis=0))

    def __call__(self, features: Floats) -> Floats:
        """Return `(n, m)` of features `(n, d)`."""
        near: Floats = np.exp(squared_distances(features, self.anchors) / np.float32(-2 * self.width))
        return near - self.mean


def squared_distances(features: Floats, anchors: Floats) -> Floats:
    """Return ‖x − anchor‖², `(n, m)`."""
    squares, anchor_squares = (np.einsum("ij,ij->i", some, some) for some in (features, anchors))
    squared: Floats = squares[:, None] + anchor_squares - 2 * (features @ anchors.T)
    return np.maximum(squared, np.float32(0))
