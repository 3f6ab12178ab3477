"""MLH: Norouzi, Fleet: Minimal Loss Hashing for Compact Binary Codes, ICML 2011.

The loss of a pair is a hinge on its Hamming distance m: max(m − ρ + 1, 0) within a class, max(ρ − m + 1, 0) otherwise
(section 2). It is discontinuous, so an upper bound is minimised, as in a structural SVM with latent variables:
hyperplanes move step_sum a pair's own codes and away from its loss-adjusted codes, which maximise loss plus fit
(sections 3 and 4).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.comparison.baselines.method import (
    Labels,
    pack_bits,
    require_fitted,
    require_labels,
    sample_pairs,
    stratified_sample,
)
from models.network.codes import Codes, Floats

Bits = NDArray[np.bool_]

# As in the paper's experiments: labelled images, pairs per step, momentum.
LABELLED, BATCH, MOMENTUM = 1000, 100, 0.9
# Learning rate, decaying to zero. The paper validates it; on F7 a lower one is worse, and a higher one no better.
RATE = 3.0
# Sampled pairs per image, half of them of one class.
PAIRS_PER_IMAGE = 200
# ρ, the radius between similar and dissimilar, as a share of the bits; the paper validates it.
RADIUS = 1 / 6
# Weight decay per step, relative to the learning rate.
WEIGHT_DECAY = 1e-3


@dataclass
class MinimalLossHashing:
    """MLH: one hyperplane per bit, learnt from pairs."""

    bits: int
    seed: int = 0
    most: int = LABELLED
    _mean: Floats | None = field(default=None, init=False, repr=False)
    _weights: Floats | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from pairs among at most `most` of features `(n, d)` and labels `(n,)`, stratified by class.

        Raises:
            MethodError: there are no labels, or only one.
        """
        labels = require_labels(labels, "MLH")
        chosen = stratified_sample(labels, self.most, self.seed)
        self._mean = features[chosen].mean(axis=0)
        points = features[chosen] - self._mean
        points /= max(float(np.linalg.norm(points, axis=1).mean()), 1e-12)
        self._weights = learn_hyperplanes(points, labels[chosen], self.bits, np.random.default_rng(self.seed))

    def codes(self, features: Floats) -> Codes:
        """Return codes of features `(n, d)`."""
        return pack_bits((features - require_fitted(self._mean)) @ require_fitted(self._weights).T)


def learn_hyperplanes(points: Floats, labels: Labels, bits: int, rng: np.random.Generator) -> Floats:
    """Return hyperplanes `(bits, d)`: the perceptron-like learning of section 4.2, initialised at random."""
    weights = rng.normal(size=(bits, points.shape[1])).astype(np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    radius = max(bits * RADIUS, 1.0)
    velocity = np.zeros_like(weights)
    steps = len(points) * PAIRS_PER_IMAGE // BATCH
    for step in range(steps):
        left, right = sample_pairs(labels, BATCH, rng)
        u, v = points[left] @ weights.T, points[right] @ weights.T
        g, h = loss_adjusted(u, v, labels[left] == labels[right], radius)
        ascent = ((u > 0).astype(np.float32) - g).T @ points[left] + ((v > 0).astype(np.float32) - h).T @ points[right]
        velocity = MOMENTUM * velocity + ascent / BATCH - WEIGHT_DECAY * weights
        weights += RATE * (1 - step / steps) * velocity
    return weights


def loss_adjusted(u: Floats, v: Floats, same: Bits, radius: float) -> tuple[Bits, Bits]:
    """Return the codes g, h `(n, bits)` of pairs that maximise loss(g, h) + g·u + h·v, exactly (section 4.1).

    For a given distance, the optimal differing bits are those where differing costs least. So bits are sorted by that
    cost, and the best distance from 0 to all bits is chosen.

    Args:
        u: projections `(n, bits)` of the first of each pair.
        v: projections of the second.
        same: `(n,)`, whether they are of one class.
        radius: ρ.
    """
    alike, apart = np.maximum(u + v, 0), np.maximum(u, v)
    order = np.argsort(alike - apart, axis=1)
    gains = np.take_along_axis(apart - alike, order, axis=1)
    total = np.pad(np.cumsum(gains, axis=1), ((0, 0), (1, 0))) + hinge(u.shape[1], same, radius)
    differing = np.argmax(total, axis=1)
    places = np.argsort(order, axis=1)
    differ = places < differing[:, None]
    one, other = np.where(differ, u > v, u + v > 0), np.where(differ, u <= v, u + v > 0)
    return one, other


def hinge(bits: int, same: Bits, radius: float) -> Floats:
    """Return the loss at every distance from 0 to all bits, `(n, bits + 1)`."""
    distances = np.arange(bits + 1)
    far, near = np.maximum(distances - radius + 1, 0), np.maximum(radius - distances + 1, 0)
    losses: Floats = np.where(same[:, None], far, near).astype(np.float32)
    return losses
