"""Hyperplanes for codes without labels: iterative quantisation (ITQ) and random ones (LSH).

ITQ: Gong, Lazebnik, Gordo, Perronnin: Iterative Quantization, TPAMI 2013. LSH: Charikar, STOC 2002. Both give one
hyperplane per bit, which equals a latent layer H: σ(W F7 + b) > ½ exactly where W F7 + b > 0.
"""

import numpy as np
from numpy.typing import NDArray

from models.errors import DatasetError

Floats = NDArray[np.float32]
Hyperplanes = tuple[Floats, Floats]

ROUNDS = 50


def itq(features: Floats, bits: int, seed: int = 0) -> Hyperplanes:
    """Rotate the principal axes to minimise the quantisation error (section 3.2 of ITQ's paper).

    Args:
        features: `(n, d)` float32, with n > bits.
        bits: number of hyperplanes, at most d.
        seed: random seed of the initial rotation.

    Returns:
        Weights `(bits, d)` and biases `(bits,)`.

    Raises:
        DatasetError: there are too few features for this number of bits.
    """
    count, dim = features.shape
    require_enough(count, dim, bits)
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    _, axes = np.linalg.eigh(centred.T @ centred / count)
    axes = axes[:, ::-1][:, :bits]
    return _hyperplanes((axes @ _rotation(centred @ axes, seed)).T, mean, centred)


def require_enough(count: int, dim: int, bits: int) -> None:
    """Check that ITQ can compute this number of hyperplanes.

    Raises:
        DatasetError: F7 has fewer floats, or there are too few images.
    """
    if dim < bits:
        raise DatasetError(f"{bits} bits exceed the {dim} floats of F7. Use fewer bits, or lsh.")
    if count <= bits:
        raise DatasetError(f"{bits} bits need more than {bits} images, not {count}. Use fewer bits, or lsh.")


def lsh(features: Floats, bits: int, seed: int = 0) -> Hyperplanes:
    """Draw random hyperplanes through the mean: the code of the paper's untrained latent layer."""
    mean = features.mean(axis=0, dtype=np.float64)
    weights = np.random.default_rng(seed).normal(size=(bits, features.shape[1]))
    return _hyperplanes(weights, mean, features - mean)


def _rotation(projected: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Minimise ‖sign(V R) − V R‖ over rotations R, alternating between codes and R (algorithm 1)."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(projected.shape[1],) * 2))
    for _ in range(ROUNDS):
        codes = np.where(projected @ rotation > 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(codes.T @ projected)
        rotation = (left @ right).T
    return rotation


def _hyperplanes(weights: NDArray[np.float64], mean: NDArray[np.float64], centred: NDArray[np.float64]) -> Hyperplanes:
    """Scale hyperplanes so that activations spread over 0…1 instead of saturating; no bit changes."""
    weights = weights / np.maximum((centred @ weights.T).std(axis=0), 1e-12)[:, None]
    return weights.astype(np.float32), (-weights @ mean).astype(np.float32)
