"""Calibration of similarity: the fitted curve against the distribution of the pairs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.checkpoint.similarity import Curve, calibrate, calibration_error, fit_curve


def drawn(together: int, apart: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw distances whose logarithms are normal around 0 and 1.5, for midpoint e^0.75 and steepness 6."""
    rng = np.random.default_rng(seed)
    logs = np.concatenate([rng.normal(0, 0.5, together), rng.normal(1.5, 0.5, apart)])
    return np.exp(logs), np.arange(together + apart) < together


@pytest.mark.parametrize(("together", "apart"), [(20_000, 20_000), (5_000, 50_000), (50_000, 5_000)])
def test_fit_curve_recovers_the_true_parameters(together: int, apart: int) -> None:
    curve = fit_curve(*drawn(together, apart))
    assert np.log(curve.midpoint) == pytest.approx(0.75, abs=0.03)
    assert curve.steepness == pytest.approx(6, rel=0.05)


def test_similarity_is_one_for_identical_images_and_decreases_with_distance() -> None:
    curve = fit_curve(*drawn(1000, 1000))
    similarities = [curve(distance) for distance in (0, 0.1, 1, curve.midpoint, 5, 1000)]
    assert similarities[0] == 1
    assert similarities[3] == pytest.approx(0.5)
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[-1] > 0


@pytest.mark.parametrize(
    ("distances", "together"),
    [
        ([0.0, 0.0, 1.0, 2.0], [True, True, False, False]),
        ([0.0, 0.0, 0.0, 0.0], [True, True, False, False]),
        ([1.0, 2.0, 3.0, 4.0], [False, False, True, True]),
        ([0.0, 1e30], [True, False]),
    ],
)
def test_fit_curve_handles_separable_and_uninformative_pairs(distances: list[float], together: list[bool]) -> None:
    curve = fit_curve(np.array(distances), np.array(together))
    assert np.isfinite([curve.midpoint, curve.steepness]).all()
    assert curve(0.0) == 1
    assert 0 <= curve(5.0) <= 1


def test_calibration_error_is_zero_for_a_calibrated_curve() -> None:
    distances, together = drawn(30_000, 30_000, seed=1)
    right, wrong = fit_curve(distances, together), Curve(10.0, 1.0)
    assert calibration_error(np.array([right(distance) for distance in distances]), together) < 0.01
    assert calibration_error(np.array([wrong(distance) for distance in distances]), together) > 0.2


def test_calibrate_separates_groups_by_features_and_codes() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 10, 400)
    features = (rng.normal(size=(10, 16))[groups] + 0.2 * rng.normal(size=(400, 16))).astype(np.float32)
    codes = np.packbits(features @ rng.normal(size=(16, 64)) > 0, axis=1)
    found = calibrate(codes, features, groups, "one label", 0.5)
    assert found is not None
    assert found.pairs == "one label"
    assert found.error < 0.02
    one, other = np.flatnonzero(groups == 3)[:2]
    stranger = np.flatnonzero(groups == 4)[0]
    assert found.features(float(np.linalg.norm(features[one] - features[other]))) > 0.9
    assert found.features(float(np.linalg.norm(features[one] - features[stranger]))) < 0.1
    assert found.codes(float(np.bitwise_count(codes[one] ^ codes[other]).sum())) > 0.8
    assert found.codes(float(np.bitwise_count(codes[one] ^ codes[stranger]).sum())) < 0.2


@pytest.mark.parametrize("groups", [np.zeros(20, np.int64), np.arange(20)])
def test_calibrate_returns_none_without_both_kinds_of_pairs(groups: NDArray[np.int64]) -> None:
    codes, features = np.zeros((20, 8), np.uint8), np.zeros((20, 4), np.float32)
    assert calibrate(codes, features, groups, "two views", 0.5) is None
