"""How similar two images are, from 0 to 1: what a network's distances mean.

A distance by itself says only which of two images is nearer. Calibrated on pairs of images that belong together
and pairs that do not, it says how likely a pair belongs together, if both kinds came equally often: logistic
regression on the logarithm of the distance (Platt 1999),

    s(d) = 1 / (1 + (d / midpoint) ^ steepness),

so that the same image has 1, and half is reached at `midpoint`. Where there are labels, images of one label belong
together; where there are none, two views of one image do. It depends on the network alone: in every catalogue of one
network a similarity means the same.
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
    """Similarity by distance; see the head of this file."""

    midpoint: float
    steepness: float

    def __call__(self, distance: float) -> float:
        """Return the similarity, 0 to 1, at a distance."""
        return 1 / (1 + float((distance / self.midpoint) ** self.steepness))


@dataclass(frozen=True)
class Similarity:
    """A network's calibration.

    Attributes:
        pairs: which pairs of images belong together.
        features: by L2 on F7, scaled as the network says.
        codes: by Hamming distance.
        copies: the distance on F7 within which 95 of 100 images have a copy of themselves that was saved as a JPEG of
            quality 75 at the size that the network reads: what is nearer is as good as the same image.
        error: mean difference between the similarity and the share of pairs that belong together, over ten bins of
            pairs that were not calibrated on (the expected calibration error); of `features`.
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
        features: `(n, d)` float32, scaled as the network says.
        groups: `(n,)`; images of one group belong together.
        pairs: what the groups are.
        copies: see `Similarity`.
        seed: of the choice of pairs.

    Returns:
        None where no two images belong together, or all do.
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
    """Fit the curve to pairs by maximum likelihood, both kinds weighing the same; Newton's method.

    Args:
        distances: `(n,)`.
        together: `(n,)`, whether a pair belongs together; some do, and some do not.
    """
    positive = distances[distances > 0]
    # The same image twice is nearer than any other pair, and its logarithm has no end.
    nearest = positive.min() / 2 if len(positive) else 1.0
    x = np.stack([np.ones(len(distances)), -np.log(np.maximum(distances, nearest))], axis=1)
    weights = np.where(together, 0.5 / max(together.sum(), 1), 0.5 / max((~together).sum(), 1))
    scale, bend = x[:, 1].std() or 1.0, 1e-6
    theta = np.array([-x[:, 1].mean() / scale, 1 / scale])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -50, 50)))
        # A little ridge, for pairs that a threshold tells apart without fault would want an infinite slope.
        gradient = x.T @ (weights * (p - together)) + bend * theta
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + bend * np.eye(2)
        theta = theta - np.linalg.solve(hessian, gradient)
    # Where distance says nothing, or the opposite, similarity hardly falls with it.
    steepness = max(float(theta[1]), 1e-3)
    midpoint = np.exp(np.clip(theta[0] / steepness, -x[:, 1].max(), -x[:, 1].min()))
    return Curve(float(midpoint), steepness)


def calibration_error(similarities: Doubles, together: NDArray[np.bool_]) -> float:
    """Return the expected calibration error, both kinds of pairs weighing the same."""
    weights = np.where(together, 0.5 / max(together.sum(), 1), 0.5 / max((~together).sum(), 1))
    bins = np.minimum((similarities * _BINS).astype(np.int64), _BINS - 1)
    said = np.bincount(bins, weights * similarities, _BINS)
    seen = np.bincount(bins, weights * together, _BINS)
    return float(np.abs(said - seen).sum())


def _pairs(groups: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw pairs `(n,)` and `(n,)` of different images, about half of them of one group."""
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    count = min(_MAX_PAIRS // 2, 50 * len(groups))
    first = rng.choice(np.flatnonzero(np.repeat(sizes, sizes) > 1), count)
    group = np.searchsorted(starts, first, side="right") - 1
    # Somebody else of the group: from 1 to size - 1 places further on, round the end.
    step = 1 + (rng.random(count) * (sizes[group] - 1)).astype(np.int64)
    second = starts[group] + (first - starts[group] + step) % sizes[group]
    third, fourth = rng.integers(len(groups), size=(2, 2 * count))
    apart = np.flatnonzero(groups[order[third]] != groups[order[fourth]])[:count]
    one, other = np.concatenate([first, third[apart]]), np.concatenate([second, fourth[apart]])
    mixed = rng.permutation(len(one))
    return order[one[mixed]], order[other[mixed]]
