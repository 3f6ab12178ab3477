"""Similarity: curves through anchors, and their calibration on pairs of images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.checkpoint.similarity import (
    BANDS,
    AnchoredCurve,
    LogisticCurve,
    Similarity,
    band_of,
    calibrate,
    fit_anchors,
    fit_curve_to,
)

CURVE = AnchoredCurve(((0.5, 0.95), (0.9, 0.5), (1.0, 0.3)))
distances = st.floats(0, 1e3)
samples = st.lists(st.floats(0, 100), min_size=1, max_size=30).map(np.array)


def is_falling(curve: AnchoredCurve, up_to: float) -> bool:
    values = [curve(float(distance)) for distance in np.linspace(0, up_to, 200)]
    return values == sorted(values, reverse=True) and values[0] == 1 and values[-1] > 0


@given(one=distances, other=distances)
def test_curve_falls_from_1_and_stays_above_0(one: float, other: float) -> None:
    near, far = sorted((one, other))
    assert 1 >= CURVE(near) >= CURVE(far) > 0
    assert CURVE(0) == 1


def test_curve_goes_through_its_points_and_is_linear_between_them() -> None:
    assert [CURVE(distance) for distance, _ in CURVE.points] == pytest.approx([0.95, 0.5, 0.3])
    assert CURVE(0.7) == pytest.approx((0.95 + 0.5) / 2)
    assert CURVE(0.25) == pytest.approx((1 + 0.95) / 2)
    assert CURVE(2.0) == pytest.approx(0.15)


@pytest.mark.parametrize(
    "points",
    [(), ((0.0, 0.9),), ((1.0, 0.5), (1.0, 0.4)), ((1.0, 0.5), (2.0, 0.6)), ((1.0, 1.1),), ((1.0, 0.0),)],
    ids=str,
)
def test_points_that_are_no_falling_curve_are_an_error(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        AnchoredCurve(points)


def test_bands_cover_all_similarities() -> None:
    found = [band_of(similarity).name for similarity in (1, 0.9, 0.89, 0.5, 0.49, 0.3, 0.29, 0)]
    names = [band.name for band in BANDS]
    assert names == ["very similar", "similar", "loosely related", "unrelated"]
    assert found == ["very similar", "very similar", "similar", "similar", *["loosely related"] * 2, *["unrelated"] * 2]


def test_logistic_curve_of_an_earlier_version_is_a_half_at_its_midpoint() -> None:
    curve = LogisticCurve(0.8, 20.0)
    assert (curve(0), curve(0.8)) == (1, 0.5)
    assert curve(0.9) < 0.1


@given(copies=samples, alike=samples | st.just(np.zeros(0)), others=samples)
def test_anchors_of_any_pairs_are_a_falling_curve(
    copies: NDArray[np.float64], alike: NDArray[np.float64], others: NDArray[np.float64]
) -> None:
    assert is_falling(fit_anchors(copies, alike, others), 200)


def test_anchors_keep_the_three_sorts_of_pairs_apart() -> None:
    rng = np.random.default_rng(0)
    copies, alike, others = (rng.normal(mean, 0.04, 5000) for mean in (0.3, 0.75, 1.1))
    curve = fit_anchors(copies, alike, others)
    assert np.mean([curve(one) >= 0.95 for one in copies]) == pytest.approx(0.95, abs=0.01)
    assert np.mean([0.5 <= curve(one) < 0.95 for one in alike]) == pytest.approx(0.8, abs=0.01)
    assert np.mean([curve(one) < 0.3 for one in others]) == pytest.approx(0.95, abs=0.01)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 64), st.floats(0, 1)), min_size=1, max_size=200).filter(
        lambda pairs: any(bits for bits, _ in pairs)
    )
)
def test_curve_fitted_to_similarities_falls(pairs: list[tuple[int, float]]) -> None:
    bits, similarities = (np.array(column, float) for column in zip(*pairs, strict=True))
    assert is_falling(fit_curve_to(bits, similarities), 200)


def test_curve_fitted_to_similarities_agrees_with_them() -> None:
    rng = np.random.default_rng(0)
    apart = rng.uniform(0, 1.3, 20_000)
    bits = np.round(50 * apart + rng.normal(0, 2, len(apart))).clip(0)
    curve = fit_curve_to(bits, np.array([CURVE(one) for one in apart]))
    for distance in (0.2, 0.5, 0.7, 0.9, 1.2):
        assert curve(50 * distance) == pytest.approx(CURVE(distance), abs=0.06)
    assert len(curve.points) <= 16


def test_pairs_without_distances_are_an_error() -> None:
    with pytest.raises(ValueError, match="distance above 0"):
        fit_curve_to(np.zeros(3), np.ones(3))


def calibrated(features: NDArray[np.float32], codes: NDArray[np.uint8]) -> Similarity | None:
    """Calibrate on 400 images of 10 kinds, each followed by a copy of itself and by an edit."""
    rng = np.random.default_rng(1)
    rows = np.arange(400)
    some = rng.integers(400, size=(4000, 2))
    kinds = rows % 10
    same = kinds[some[:, 0]] == kinds[some[:, 1]]
    return calibrate(
        codes,
        features,
        copies=np.stack([rows, rows + 400], axis=1),
        near=np.stack([rows, rows + 800], axis=1),
        alike=some[same & (some[:, 0] != some[:, 1])],
        others=some[~same],
        pairs="one label",
    )


def test_calibration_agrees_for_features_and_codes() -> None:
    rng = np.random.default_rng(0)
    kinds, own = rng.normal(size=(10, 32)), rng.normal(size=(400, 32))
    originals = kinds[np.arange(400) % 10] + 0.4 * own
    copies, edits = (originals + scale * rng.normal(size=(400, 32)) for scale in (0.05, 0.2))
    features = np.concatenate([originals, copies, edits]).astype(np.float32)
    codes = np.packbits(features @ rng.normal(size=(32, 256)) > 0, axis=1)
    found = calibrated(features, codes)
    assert found is not None

    def similarities(one: int, other: int) -> tuple[float, float]:
        bits = int(np.bitwise_count(codes[one] ^ codes[other]).sum())
        return found.features(float(np.linalg.norm(features[one] - features[other]))), found.codes(bits)

    assert min(similarities(3, 403)) > 0.9
    assert max(similarities(3, 4)) < 0.45
    assert similarities(3, 13) == pytest.approx((0.7, 0.7), abs=0.25)
    assert found.copies < found.near


def test_images_that_do_not_differ_are_not_calibrated() -> None:
    assert calibrated(np.zeros((1200, 4), np.float32), np.zeros((1200, 8), np.uint8)) is None
