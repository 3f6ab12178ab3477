"""Similarity of two images, from 0 to 1, calibrated from a network's distances.

A distance alone only ranks. The similarity is a falling function of the distance through anchors, which are measured on
pairs of images (`fit_anchors`): 0.95 or more for the same picture saved again, 0.5 to 0.9 for one kind and look, below
0.3 for different kinds. The calibration depends on the network alone: a similarity means the same in every catalogue of
that network.

Networks of earlier versions have logistic curves instead: the probability that a pair belongs together.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.network.codes import Codes, Floats

Doubles = NDArray[np.float64]
# Pairs of rows of an array of images, `(n, 2)`.
RowPairs = NDArray[np.int64]
Definition = Literal["label and look", "one label", "two views", "no labels"]

_MAX_POINTS = 16
# Smallest similarity of a curve's point, and smallest distance between two anchors.
_MIN_SIMILARITY, _MIN_STEP = 1e-6, 1e-6


@dataclass(frozen=True)
class Band:
    """A range of similarities, named for people; `minimum` is its lower end."""

    name: str
    minimum: float


BANDS = (Band("very similar", 0.9), Band("similar", 0.5), Band("loosely related", 0.3), Band("unrelated", 0.0))


def band_of(similarity: float) -> Band:
    """Return the band of a similarity, 0 to 1."""
    return next(band for band in BANDS if similarity >= band.minimum)


@dataclass(frozen=True)
class Anchor:
    """The similarity of pairs of a sort at a percentile of their distances."""

    similarity: float
    sort: Literal["copies", "alike", "others"]
    percentile: float


ANCHORS = (
    Anchor(0.95, "copies", 95),
    Anchor(0.5, "alike", 80),
    Anchor(0.3, "others", 5),
    Anchor(0.1, "others", 50),
)


@dataclass(frozen=True)
class LogisticCurve:
    """Similarity in networks of earlier versions: 1 / (1 + (d / midpoint) ^ steepness)."""

    midpoint: float
    steepness: float

    def __call__(self, distance: float) -> float:
        """Return the similarity, 0 to 1, at a distance."""
        return 1 / (1 + float((distance / self.midpoint) ** self.steepness))


@dataclass(frozen=True)
class AnchoredCurve:
    """Similarity that is 1 at distance 0, linear between points, and falls with 1 / distance beyond the last one.

    Attributes:
        points: distances above 0, ascending, each with its similarity, above 0 and at most 1, descending.

    Raises:
        ValueError: there are no points, or they are not in this order.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        steps = pairwise(((0.0, 1.0), *self.points))
        if not self.points or not all(d < further and 1 >= s >= lower > 0 for (d, s), (further, lower) in steps):
            raise ValueError(f"{self.points}: distances must ascend from 0 and similarities descend from 1")

    def __call__(self, distance: float) -> float:
        """Return the similarity, 0 to 1, at a distance."""
        at = bisect_right(self.points, distance, key=lambda point: point[0])
        near, high = self.points[at - 1] if at else (0.0, 1.0)
        if at == len(self.points):
            return high * near / distance
        far, low = self.points[at]
        return high + (low - high) * (distance - near) / (far - near)


Curve = LogisticCurve | AnchoredCurve


@dataclass(frozen=True)
class Similarity:
    """Calibration of a network.

    Attributes:
        pairs: which images are of one kind and look: those of one label and colour, or of one label. "no labels": not
            known. "two views": two views of one image, in networks of earlier versions.
        features: curve over L2 on F7, normalised as the network requires.
        codes: curve over Hamming distance.
        copies: the F7 distance within which 99 of 100 images have a copy of themselves that was scaled and compressed.
        near: the F7 distance within which half of the images have a cut or mirrored copy of themselves.
    """

    pairs: Definition
    features: Curve
    codes: Curve
    copies: float
    near: float


def calibrate(
    codes: Codes,
    features: Floats,
    *,
    copies: RowPairs,
    near: RowPairs,
    alike: RowPairs,
    others: RowPairs,
    pairs: Definition,
) -> Similarity | None:
    """Calibrate a network on pairs of images that it was not trained on.

    Args:
        codes: `(n, bits / 8)` uint8.
        features: `(n, d)` float32, normalised as the network requires.
        copies: pairs of rows: an image, and the same picture saved again.
        near: pairs of rows: an image, and a cut or mirrored copy.
        alike: pairs of rows of one kind and look; may be empty.
        others: pairs of rows of different kinds.
        pairs: what makes one kind and look.

    Returns:
        None if there are no pairs of different kinds, or none of them differs in F7 and code.
    """
    saved_again, edited, same_look, different = (
        np.linalg.norm(features[rows[:, 0]] - features[rows[:, 1]], axis=1).astype(np.float64)
        for rows in (copies, near, alike, others)
    )
    # Each sort has the same weight, whatever the number of its pairs.
    count = max(len(copies), len(alike), len(others))
    rows = np.concatenate([np.resize(some, (count, 2)) for some in (copies, alike, others) if len(some)])
    bits = np.bitwise_count(codes[rows[:, 0]] ^ codes[rows[:, 1]]).sum(axis=1).astype(np.float64)
    if not (different.any() and bits.any()):
        return None
    curve = fit_anchors(saved_again, same_look, different)
    distances = np.linalg.norm(features[rows[:, 0]] - features[rows[:, 1]], axis=1)
    code_curve = fit_curve_to(bits, np.array([curve(float(distance)) for distance in distances]))
    return Similarity(pairs, curve, code_curve, float(np.percentile(saved_again, 99)), float(np.median(edited)))


def fit_anchors(copies: Doubles, alike: Doubles, others: Doubles) -> AnchoredCurve:
    """Fit the curve of F7 to the distances of three sorts of pairs.

    Anchors whose distances are in the wrong order, because the sorts overlap, meet at their mean.

    Args:
        copies: `(n,)`, of the same picture saved again.
        alike: `(n,)`, of one kind and look; may be empty.
        others: `(n,)`, of different kinds.
    """
    sorts = {"copies": copies, "alike": alike, "others": others}
    anchors = [anchor for anchor in ANCHORS if len(sorts[anchor.sort])]
    measured = np.array([np.percentile(sorts[anchor.sort], anchor.percentile) for anchor in anchors])
    distances = -_non_increasing(-measured, np.ones(len(anchors)))
    points, nearest = list[tuple[float, float]](), 0.0
    for distance, anchor in zip(distances, anchors, strict=True):
        nearest = max(float(distance), nearest + _MIN_STEP)
        points.append((nearest, anchor.similarity))
    return AnchoredCurve(tuple(points))


def fit_curve_to(distances: Doubles, similarities: Doubles) -> AnchoredCurve:
    """Fit a curve to pairs whose similarity is known, such as codes' curve to that of F7, by isotonic regression.

    Its points are the means of at most 16 groups of pairs with similar distances.

    Args:
        distances: `(n,)`, at least 0.
        similarities: `(n,)`, 0 to 1, of the same pairs.

    Raises:
        ValueError: no pair has a distance above 0.
    """
    apart = distances > 0
    if not apart.any():
        raise ValueError("no two images have a distance above 0")
    edges = np.unique(np.quantile(distances[apart], np.linspace(0, 1, _MAX_POINTS + 1))[1:-1])
    groups = np.searchsorted(edges, distances[apart])
    count = np.bincount(groups)
    filled = np.flatnonzero(count)
    mean_distances, mean_similarities = (
        (np.bincount(groups, values[apart]) / np.maximum(count, 1))[filled] for values in (distances, similarities)
    )
    falling = _non_increasing(mean_similarities, count[filled].astype(np.float64)).clip(_MIN_SIMILARITY, 1)
    return AnchoredCurve(tuple(zip(mean_distances.tolist(), falling.tolist(), strict=True)))


def _non_increasing(values: Doubles, weights: Doubles) -> Doubles:
    """Return the non-increasing sequence that is nearest to values `(n,)` by weighted least squares."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, total, length = float(value), float(weight), 1
        while blocks and blocks[-1][0] < mean:
            before, its_total, its_length = blocks.pop()
            mean = (before * its_total + mean * total) / (its_total + total)
            total, length = total + its_total, length + its_length
        blocks.append((mean, total, length))
    return np.repeat([mean for mean, _, _ in blocks], [length for _, _, length in blocks])
