"""MLH: Norouzi, Fleet: Minimal Loss Hashing for Compact Binary Codes, ICML 2011.

A hinge on the Hamming distance m of a pair says what is wrong with a code: max(m − ρ + 1, 0) for two of one class,
max(ρ − m + 1, 0) for others (section 2). It jumps, so an upper bound is made small instead, as a structural SVM with
latent variables does: the loss-adjusted codes of a pair, which lose most and still fit the hyperplanes best, are
pushed away, and its own codes pulled near (sections 3 and 4).
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

# As in the paper's experiments: labelled images, pairs a step, momentum.
LABELLED, BATCH, MOMENTUM = 1000, 100, 0.9
# Of the steps, falling to zero. The paper chooses such numbers by validation; on F7 less finds less, and more no more.
RATE = 3.0
# Pairs that are looked at for each image, half of them of one class.
PAIRS_PER_IMAGE = 200
# The radius that parts similar from dissimilar, as a share of the bits; the paper chooses it by validation.
RADIUS = 1 / 6
# By how much weights shrink at each step, in units of the rate.
WEIGHT_DECAY = 1e-3


@dataclass
class MinimalLossHashing:
    """One hyperplane a bit, learnt from pairs."""

    bits: int
    seed: int = 0
    most: int = LABELLED
    _mean: Floats | None = field(default=None, init=False, repr=False)
    _weights: Floats | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from pairs among at most `most` of features `(n, d)` and labels `(n,)`, equally many a class.

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
        """Return on which side of each hyperplane features `(n, d)` lie."""
        return pack_bits((features - require_fitted(self._mean)) @ require_fitted(self._weights).T)


def learn_hyperplanes(points: Floats, labels: Labels, bits: int, rng: np.random.Generator) -> Floats:
    """Return hyperplanes `(bits, d)`: the perceptron-like learning of section 4.2, from random ones on."""
    weights = rng.normal(size=(bits, points.shape[1])).astype(np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    radius = max(bits * RADIUS, 1.0)
    moving = np.zeros_like(weights)
    steps = len(points) * PAIRS_PER_IMAGE // BATCH
    for step in range(steps):
        left, right = sample_pairs(labels, BATCH, rng)
        u, v = points[left] @ weights.T, points[right] @ weights.T
        g, h = loss_adjusted(u, v, labels[left] == labels[right], radius)
        towards = ((u > 0).astype(np.float32) - g).T @ points[left] + ((v > 0).astype(np.float32) - h).T @ points[right]
        moving = MOMENTUM * moving + towards / BATCH - WEIGHT_DECAY * weights
        weights += RATE * (1 - step / steps) * moving
    return weights


def loss_adjusted(u: Floats, v: Floats, same: Bits, radius: float) -> tuple[Bits, Bits]:
    """Return the codes g, h `(n, bits)` of pairs that maximise loss(g, h) + g·u + h·v, exactly (section 4.1).

    For a number of bits that differ, the best ones to differ are those where that costs least; so all bits are put
    in that order, and of the numbers from 0 to all the best is taken.

    Args:
        u: projections `(n, bits)` of one of each pair.
        v: the same of the other.
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
    """Return the loss of every distance from 0 to all bits, `(n, bits + 1)`."""
    distances = np.arange(bits + 1)
    far, near = np.maximum(distances - radius + 1, 0), np.maximum(radius - distances + 1, 0)
    losses: Floats = np.where(same[:, None], far, near).astype(np.float32)
    return losses
