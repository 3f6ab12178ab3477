"""KSH: Liu, Wang, Ji, Jiang, Chang: Supervised Hashing with Kernels, CVPR 2012.

Minimises ‖HHᵀ/bits − S‖² over codes H of the labelled images, S being 1 for pairs of one class and −1 otherwise. Bits
are learnt greedily, each on the residual of the previous ones: first by spectral relaxation to an eigenvalue problem,
then by gradient ascent with sigmoids in place of signs (section 3.3, algorithm 1).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.comparison.baselines.kernel import Kernel
from models.comparison.baselines.method import Labels, pack_bits, require_fitted, require_labels, stratified_sample
from models.network.codes import Codes, Floats

Reals = NDArray[np.floating]

# As in the paper's experiments: anchors of the kernel, and labelled images, all of whose pairs are used.
ANCHORS, LABELLED = 300, 1000
# Gradient ascent stops after this many steps, or at a relative improvement below the tolerance.
STEPS, TOLERANCE = 500, 1e-4


@dataclass
class KernelSupervisedHashing:
    """KSH: one bit is sign(K̄ a), K̄ being the centred kernel on the anchors."""

    bits: int
    seed: int = 0
    most: int = LABELLED
    _kernel: Kernel | None = field(default=None, init=False, repr=False)
    _weights: Reals | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from at most `most` of features `(n, d)` and labels `(n,)`, stratified by class.

        Raises:
            MethodError: there are no labels, or only one.
        """
        labels = require_labels(labels, "KSH")
        chosen = stratified_sample(labels, self.most, self.seed)
        self._kernel = Kernel.of(features[chosen[:ANCHORS]], features[chosen])
        same = labels[chosen][:, None] == labels[chosen]
        similar = np.where(same, np.float32(1), np.float32(-1))
        self._weights = greedy(self._kernel(features[chosen]), similar, self.bits)

    def codes(self, features: Floats) -> Codes:
        """Return codes of features `(n, d)`."""
        return pack_bits(require_fitted(self._kernel)(features) @ require_fitted(self._weights))


def greedy(near: Reals, similar: Reals, bits: int) -> Reals:
    """Return weights `(m, bits)` for a kernel `(n, m)` and similarities `(n, n)`, learnt bit by bit."""
    left = bits * similar
    gram = near.T.astype(np.float64) @ near
    root = np.linalg.cholesky(gram + np.eye(len(gram)) * max(1e-8 * np.trace(gram), 1e-12))
    weights = np.empty((near.shape[1], bits), near.dtype)
    for bit in range(bits):
        relaxed = leading(near, left, root)
        found = max((relaxed, climb(near, left, relaxed)), key=lambda a: gain(signs(near @ a), left))
        weights[:, bit] = found
        code = signs(near @ found)
        left = left - np.outer(code, code)
    return weights


def leading(near: Reals, left: Reals, root: Reals) -> Reals:
    """Return the a that maximises (K̄a)ᵀ R (K̄a) subject to ‖K̄a‖² = n: the spectral relaxation.

    `root` is the Cholesky factor of K̄ᵀK̄, which turns the generalised eigenvalue problem into a standard one.
    """
    half = np.linalg.solve(root, near.T @ left @ near)
    _, vectors = np.linalg.eigh(np.linalg.solve(root, half.T))
    best = np.linalg.solve(root.T, vectors[:, -1]).astype(near.dtype)
    return best * near.dtype.type(np.sqrt(len(near)) / max(float(np.linalg.norm(near @ best)), 1e-12))


def climb(near: Reals, left: Reals, start: Reals) -> Reals:
    """Maximise φ(K̄a)ᵀ R φ(K̄a) from `start` by Nesterov's accelerated gradient, φ(x) = 2/(1 + e⁻ˣ) − 1."""
    here = ahead = start
    value, step = gain(np.tanh(near @ here / 2), left), 1.0
    for turn in range(STEPS):
        smooth = np.tanh(near @ ahead / 2)
        uphill = left @ smooth
        base = float(smooth @ uphill)
        slope = near.T @ (uphill * (1 - smooth**2))
        steepness = float(slope @ slope)
        # Backtracking line search with the Armijo condition, factor ½.
        while (found := gain(np.tanh(near @ (ahead + step * slope) / 2), left)) < base + step / 2 * steepness:
            step /= 2
            if step * steepness < TOLERANCE * abs(base):
                return here
        there = ahead + step * slope
        ahead = there + turn / (turn + 3) * (there - here)
        here, rise, value = there, found - value, found
        if rise < TOLERANCE * abs(value):
            break
        step *= 2
    return here


def gain(codes: Reals, left: Reals) -> float:
    """Return hᵀ R h."""
    return float(codes @ left @ codes)


def signs(projected: Reals) -> Reals:
    """Return 1 where positive, −1 elsewhere."""
    return np.where(projected > 0, 1, -1).astype(projected.dtype)
