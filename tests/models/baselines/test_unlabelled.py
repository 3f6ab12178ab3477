"""LSH, SH and ITQ: what defines each, and FAISS's ITQ beside ours."""

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
def test_lsh_bits_differ_as_often_as_the_angle_is_wide(angle: int) -> None:
    method = LocalitySensitiveHashing(4096)
    turned = np.radians([0, angle])
    pair = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    method.fit(np.concatenate([pair, -pair]))  # so that the mean is zero
    one, other = bits_of(method.codes(pair), 4096)
    assert (one != other).mean() == pytest.approx(angle / 180, abs=0.03)


def box(count: int = 4000) -> Floats:
    """Points spread stratified_sample over a box of sides 8 and 3, far from the origin."""
    corners = np.random.default_rng(0).uniform(size=(count, 2)) * [8, 3] + [50, -20]
    return corners.astype(np.float32)


def test_sh_halves_the_longest_side_first_and_then_quarters_it() -> None:
    points = box()
    method = SpectralHashing(2)
    method.fit(points)
    bits = bits_of(method.codes(points), 2)
    along = (points[:, 0] - 50) / 8
    halves, quarters = along > 0.5, (along > 0.25) & (along < 0.75)
    for bit, expected in zip(bits.T, (halves, quarters), strict=True):
        agree = (bit == expected).mean()
        assert max(agree, 1 - agree) > 0.97


def test_sh_takes_the_functions_with_the_smallest_eigenvalues_first() -> None:
    which, modes = smoothest(np.array([8.0, 3.0]), 5)
    # k / side is 1/8, 2/8, 1/3, 3/8, 4/8.
    assert list(zip(which.tolist(), modes.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 1), (0, 3), (0, 4)]


def test_sh_bits_of_data_in_a_box_are_balanced_and_do_not_correlate() -> None:
    points = box()
    method = SpectralHashing(2)
    method.fit(points)
    bits = bits_of(method.codes(points), 2).astype(float)
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.03)
    assert abs(np.corrcoef(bits.T)[0, 1]) < 0.06


def lost(features: Floats, axes: NDArray[np.floating]) -> float:
    """Return ‖B − VR‖² for rows of `axes` as the columns of VR."""
    projected = (features - features.mean(axis=0)) @ axes.T
    return float(np.square(np.sign(projected) - projected).sum())


def test_itq_loses_as_little_by_rounding_as_faiss_does() -> None:
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
    assert lost(features, ours) == pytest.approx(lost(features, turned), rel=0.02)
    assert lost(features, ours) < lost(features, axes)
