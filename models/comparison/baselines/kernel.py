"""Gaussian kernel on anchors, for KSH and BRE."""

from dataclasses import dataclass

import numpy as np

from models.network.codes import Floats


@dataclass(frozen=True)
class Kernel:
    """κ(x, anchor) = exp(−‖x − anchor‖² / 2σ²), centred on the images that it was fitted to.

    Attributes:
        anchors: `(m, d)`.
        width: σ², the mean squared distance, as in KSH's code.
        mean: `(m,)`.
    """

    anchors: Floats
    width: float
    mean: Floats

    @classmethod
    def of(cls, anchors: Floats, features: Floats) -> "Kernel":
        """Fit width and mean to features `(n, d)`."""
        width = max(float(squared_distances(features, anchors).mean()), float(np.finfo(np.float32).tiny))
        uncentred = cls(anchors, width, np.zeros(len(anchors), np.float32))
        return cls(anchors, width, uncentred(features).mean(axis=0))

    def __call__(self, features: Floats) -> Floats:
        """Compute the kernel `(n, m)` of features `(n, d)`."""
        near: Floats = np.exp(squared_distances(features, self.anchors) / np.float32(-2 * self.width))
        return near - self.mean


def squared_distances(features: Floats, anchors: Floats) -> Floats:
    """Return ‖x − anchor‖², `(n, m)`."""
    squares, anchor_squares = (np.einsum("ij,ij->i", some, some) for some in (features, anchors))
    squared: Floats = squares[:, None] + anchor_squares - 2 * (features @ anchors.T)
    return np.maximum(squared, np.float32(0))
