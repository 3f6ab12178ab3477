"""LSH, SH and ITQ: their definitions, and ITQ against FAISS's."""

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from models.comparison.baselines.itq import IterativeQuantisation
from models.comparison.baselines.lsh import LocalitySensitiveHashing
from models.comparison.baselines.sh import SpectralHashing, smoothest
from models.network.codes import Floats
from tests.models.baselines.toy import bits_of, toy


@pytest.mark.parametrize("angle", [20, 60, 90, 140])
def test_lsh_bit_difference_rate_equals_the_angle(angle: int) -> None:
    method = LocalitySensitiveHashing(4096)
    turned = np.radians([0, angle])
    pair = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    method.fit(np.concatenate([pair, -pair]))  # so that the mean is zero
    one, other = bits_of(method.codes(pair), 4096)
    assert (one != other).mean() == pytest.approx(angle / 180, abs=0.03)


def box(count: int = 4000) -> Floats:
    """Draw points uniformly in a box of sides 8 and 3, far from the origin."""
    corners = np.random.default_rng(0).uniform(size=(count, 2)) * [8, 3] + [50, -20]
    return corners.astype(np.float32)


def test_sh_splits_the_longest_side_first() -> None:
    points = box()
    method = SpectralHashing(2)
    method.fit(points)
    bits = bits_of(method.codes(points), 2)
    along = (points[:, 0] - 50) / 8
    halves, quarters = along > 0.5, (along > 0.25) & (along < 0.75)
    for bit, expected in zip(bits.T, (halves, quarters), strict=True):
        agree = (bit == expected).mean()
        assert max(agree, 1 - agree) > 0.97


def test_sh_orders_functions_by_eigenvalue() -> None:
    which, modes = smoothest(np.array([8.0, 3.0]), 5)
    # k / side is 1/8, 2/8, 1/3, 3/8, 4/8.
    assert list(zip(which.tolist(), modes.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 1), (0, 3), (0, 4)]


def test_sh_bits_of_uniform_data_are_balanced_and_uncorrelated() -> None:
    points = box()
    method = SpectralHashing(2)
    method.fit(points)
    bits = bits_of(method.codes(points), 2).astype(float)
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.03)
    assert abs(np.corrcoef(bits.T)[0, 1]) < 0.06


def quantisation_error(features: Floats, axes: NDArray[np.floating]) -> float:
    """Return ‖B − VR‖² for rows of `axes` as the columns of VR."""
    projected = (features - features.mean(axis=0)) @ axes.T
    return float(np.square(np.sign(projected) - projected).sum())


def test_itq_quantisation_error_matches_faiss() -> None:
    features, bits = toy(2000).features, 12
    method = IterativeQuantisation(bits)
    method.fit(features)
    assert method._planes is not None
    ours = method._planes[0].astype(np.float64)
    # Biases and scales aside, rows are orthonormal.
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    theirs = faiss.PCAMatrix(features.shape[1], bits)
    theirs.train(features)
    axes = faiss.vector_to_array(theirs.A).reshape(-1, features.shape[1])[:bits]
    rotation = faiss.ITQMatrix(bits)
    rotation.train(np.ascontiguousarray((features - features.mean(axis=0)) @ axes.T))
    turned = faiss.vector_to_array(rotation.A).reshape(bits, bits) @ axes
    assert quantisation_error(features, ours) == pytest.approx(quantisation_error(features, turned), rel=0.02)
    assert quantisation_error(features, ours) < quantisation_error(features, axes)
