"""Similarity of two images, from 0 to 1, calibrated from a network's distances.

A distance alone only ranks. Logistic regression on the logarithm of the distance (Platt 1999), fitted on positive and
negative pairs, gives the probability that a pair is positive if both kinds were equally frequent:

    s(d) = 1 / (1 + (d / midpoint) ^ steepness).

Identical images have 1, and `midpoint` is the distance with 1/2. With labels, two images of one label are a positive
pair; without, two views of one image. The calibration depends on the network alone: a similarity means the same in
every catalogue of that network.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.network.codes import Codes, Floats

Doubles = NDArray[np.float64]
Pairs = Literal["one label", "two views"]

_MAX_PAIRS, _STEPS, _BINS = 100_000, 50, 10


@dataclass(frozen=True)
class Curve:
    """Similarity as a function of distance; the formula is in the module docstring."""

    midpoint: float
    steepness: float

    def __call__(self, distance: float) -> float:
        """Return the similarity, 0 to 1, at a distance."""
        return 1 / (1 + float((distance / self.midpoint) ** self.steepness))


@dataclass(frozen=True)
class Similarity:
    """Calibration of a network.

    Attributes:
        pairs: definition of a positive pair.
        features: curve over L2 on F7, normalised as the network requires.
        codes: curve over Hamming distance.
        copies: the F7 distance within which 95 of 100 images have a copy of themselves saved as JPEG of quality 75 at
            the network's input size; anything nearer counts as the same image.
        error: expected calibration error of `features`: mean difference between the similarity and the share of
            positive pairs, over ten bins of pairs outside the calibration set.
    """

    pairs: Pairs
    features: Curve
    codes: Curve
    copies: float
    error: float


def calibrate(
    codes: Codes, features: Floats, groups: NDArray[np.int64], pairs: Pairs, copies: float, seed: int = 0
) -> Similarity | None:
    """Calibrate a network on images that it was not trained on.

    Args:
        codes: `(n, bits / 8)` uint8.
        features: `(n, d)` float32, normalised as the network requires.
        groups: `(n,)`; two images of one group are a positive pair.
        pairs: what the groups are.
        copies: see `Similarity`.
        seed: random seed for the choice of pairs.

    Returns:
        None if there are only positive or only negative pairs.
    """
    sizes = np.unique(groups, return_counts=True)[1]
    if len(sizes) == 1 or sizes.max() == 1:
        return None
    one, other = _pairs(groups, np.random.default_rng(seed))
    together = groups[one] == groups[other]
    apart = np.linalg.norm(features[one] - features[other], axis=1).astype(np.float64)
    bits = np.bitwise_count(codes[one] ^ codes[other]).sum(axis=1).astype(np.float64)
    fitted, judged = slice(0, None, 2), slice(1, None, 2)
    curve = fit_curve(apart[fitted], together[fitted])
    error = calibration_error(np.array([curve(distance) for distance in apart[judged]]), together[judged])
    return Similarity(pairs, curve, fit_curve(bits[fitted], together[fitted]), copies, error)


def fit_curve(distances: Doubles, together: NDArray[np.bool_]) -> Curve:
    """Fit the curve to pairs by maximum likelihood with equal class weights, by Newton's method.

    Args:
        distances: `(n,)`.
        together: `(n,)`, true for positive pairs; both kinds must be present.
    """
    positive = distances[distances > 0]
    # Identical images have distance 0, whose logarithm is not finite.
    nearest = positive.min() / 2 if len(positive) else 1.0
    x = np.stack([np.ones(len(distances)), -np.log(np.maximum(distances, nearest))], axis=1)
    weights = np.where(together, 0.5 / max(together.sum(), 1), 0.5 / max((~together).sum(), 1))
    scale, ridge = x[:, 1].std() or 1.0, 1e-6
    theta = np.array([-x[:, 1].mean() / scale, 1 / scale])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -50, 50)))
        # A small ridge penalty: perfectly separable pairs have no finite slope.
        gradient = x.T @ (weights * (p - together)) + ridge * theta
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + ridge * np.eye(2)
        theta = theta - np.linalg.solve(hessian, gradient)
    # If distance does not separate the pairs, or inversely, the curve is almost flat.
    steepness = max(float(theta[1]), 1e-3)
    midpoint = np.exp(np.clip(theta[0] / steepness, -x[:, 1].max(), -x[:, 1].min()))
    return Curve(float(midpoint), steepness)


def calibration_error(similarities: Doubles, together: NDArray[np.bool_]) -> float:
    """Return the expected calibration error with equal class weights."""
    weights = np.where(together, 0.5 / max(together.sum(), 1), 0.5 / max((~together).sum(), 1))
    bins = np.minimum((similarities * _BINS).astype(np.int64), _BINS - 1)
    predicted = np.bincount(bins, weights * similarities, _BINS)
    observed = np.bincount(bins, weights * together, _BINS)
    return float(np.abs(predicted - observed).sum())


def _pairs(groups: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw pairs `(n,)` and `(n,)` of different images, about half of them within one group."""
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    count = min(_MAX_PAIRS // 2, 50 * len(groups))
    first = rng.choice(np.flatnonzero(np.repeat(sizes, sizes) > 1), count)
    group = np.searchsorted(starts, first, side="right") - 1
    # Another member of the group: 1 to size - 1 positions further on, wrapping around.
    step = 1 + (rng.random(count) * (sizes[group] - 1)).astype(np.int64)
    second = starts[group] + (first - starts[group] + step) % sizes[group]
    third, fourth = rng.integers(len(groups), size=(2, 2 * count))
    apart = np.flatnonzero(groups[order[third]] != groups[order[fourth]])[:count]
    one, other = np.concatenate([first, third[apart]]), np.concatenate([second, fourth[apart]])
    mixed = rng.permutation(len(one))
    return order[one[mixed]], order[other[mixed]]
