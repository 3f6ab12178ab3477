"""BRE: Kulis, Darrell: Learning to Hash with Binary Reconstructive Embeddings, NIPS 2009; supervised.

Minimises Σ (d − d̃)² over pairs, d̃ being the Hamming distance as a share of the bits. With labels, d is 0 for two
images of one class and 1 otherwise, as in the paper's supervised setting. A bit is sign(Σ W κ(anchor, x)) over its own
few anchors, and coordinate descent sets one weight at a time to its exact optimum: as a weight grows each image's bit
flips once, so the objective is piecewise constant between flips, and one pass over the pairs evaluates all intervals.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.comparison.baselines.kernel import Kernel
from models.comparison.baselines.method import (
    Labels,
    pack_bits,
    require_fitted,
    require_labels,
    sample_pairs,
    stratified_sample,
)
from models.network.codes import Codes, Floats

Doubles = NDArray[np.float64]
Positions = NDArray[np.int64]

# As in the paper's experiments: labelled images, and anchors of a bit. Half of the pairs are of one class.
LABELLED, ANCHORS, PAIRS_PER_IMAGE = 1000, 50, 100
SWEEPS = 2
# Lower bound of slopes: a bit with a smaller slope flips only far away.
MIN_SLOPE = 1e-12


@dataclass
class BinaryReconstructiveEmbedding:
    """Coordinate descent on the weights of kernel hash functions."""

    bits: int
    seed: int = 0
    most: int = LABELLED
    _kernel: Kernel | None = field(default=None, init=False, repr=False)
    _weights: Floats | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from pairs among at most `most` of features `(n, d)` and labels `(n,)`, stratified by class.

        Raises:
            MethodError: there are no labels, or only one.
        """
        labels = require_labels(labels, "BRE")
        rng = np.random.default_rng(self.seed)
        chosen = stratified_sample(labels, self.most, self.seed)
        self._kernel = Kernel.of(features[chosen], features[chosen])
        left, right = sample_pairs(labels[chosen], len(chosen) * PAIRS_PER_IMAGE, rng)
        target = (labels[chosen][left] != labels[chosen][right]).astype(np.float64)
        embedding = Embedding(self._kernel(features[chosen]).astype(np.float64), (left, right), target, self.bits, rng)
        for _ in range(SWEEPS):
            embedding.sweep()
        self._weights = embedding.weights.astype(np.float32)

    def codes(self, features: Floats) -> Codes:
        """Return codes of features `(n, d)`."""
        return pack_bits(require_fitted(self._kernel)(features) @ require_fitted(self._weights))


class Embedding:
    """Weights and projections of the labelled images.

    Args:
        near: the kernel `(n, n)`.
        between: the pairs' positions, `(p,)` each.
        wanted: their target distances `(p,)`, 0 to 1.
        bits: number of hash functions.
        rng: random generator for anchors and initial weights.
    """

    def __init__(
        self, near: Doubles, between: tuple[Positions, Positions], wanted: Doubles, bits: int, rng: np.random.Generator
    ) -> None:
        self.near, self.between, self.wanted = near, between, wanted
        count = len(near)
        self.weights = np.zeros((count, bits))
        self.anchors = [rng.permutation(count)[: min(ANCHORS, count)] for _ in range(bits)]
        for bit, anchors in enumerate(self.anchors):
            self.weights[anchors, bit] = rng.normal(size=len(anchors))
        self.projected = near @ self.weights

    def sweep(self) -> None:
        """Update every weight once."""
        differ = self._differ()
        bits = differ.shape[1]
        for bit, anchors in enumerate(self.anchors):
            residual = self.wanted - (differ.sum(axis=1) - differ[:, bit]) / bits
            # (r − e)² is r² where two bits are equal (e = 0), and r² plus this cost where they differ (e = 1/bits).
            costs = 1 / bits**2 - 2 * residual / bits
            for anchor in anchors:
                self._set(bit, anchor, costs)
            ones = self.projected[:, bit] > 0
            differ[:, bit] = ones[self.between[0]] != ones[self.between[1]]

    def _set(self, bit: int, anchor: int, costs: Doubles) -> None:
        change = best_change(self.projected[:, bit], self.near[:, anchor], self.between, costs)
        self.weights[anchor, bit] += change
        self.projected[:, bit] += change * self.near[:, anchor]

    def _differ(self) -> NDArray[np.bool_]:
        ones = self.projected > 0
        one, other = (ones[positions] for positions in self.between)
        return one ^ other


def best_change(projected: Doubles, near: Doubles, between: tuple[Positions, Positions], costs: Doubles) -> float:
    """Return the δ that minimises the cost of pairs whose bits differ in sign(projected + δ·near).

    Args:
        projected: `(n,)`.
        near: `(n,)`.
        between: positions of the pairs, `(p,)` each.
        costs: cost of a pair if its bits differ, `(p,)`.
    """
    slopes = np.where(np.abs(near) < MIN_SLOPE, MIN_SLOPE, near)
    flips = -projected / slopes
    order = np.argsort(flips, kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    # For δ → −∞ a bit is 1 where the slope is negative; a pair is reversed between the flips of its two bits.
    differ = (slopes[between[0]] > 0) != (slopes[between[1]] > 0)
    reversal = np.where(differ, -costs, costs)
    one, other = places[between[0]], places[between[1]]
    size = len(order) + 1
    begins = np.bincount(np.minimum(one, other) + 1, reversal, size)
    ends = np.bincount(np.maximum(one, other) + 1, reversal, size)
    best = int(np.argmin(np.cumsum(begins - ends)))
    edges = np.concatenate([[flips[order[0]] - 1], flips[order], [flips[order[-1]] + 1]])
    return float((edges[best] + edges[best + 1]) / 2)
