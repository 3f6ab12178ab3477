"""Properties of every method: the protocol, and the ranking in published results."""

import numpy as np
import pytest

from models.comparison.baselines.method import MethodError, pack_bits, sample_pairs, stratified_sample
from models.comparison.baselines.registry import METHODS
from tests.models.baselines.toy import bits_of, mean_precision, toy

pytestmark = pytest.mark.slow

SUPERVISED = sorted(name for name, kind in METHODS.items() if kind.learns != "no labels")


@pytest.fixture(scope="module")
def precisions() -> dict[str, float]:
    return {name: mean_precision(kind.make(16, 0), 16) for name, kind in METHODS.items()}


@pytest.mark.parametrize("name", METHODS)
def test_codes_have_the_requested_length_and_are_deterministic(name: str) -> None:
    data, others = toy(), toy(50, seed=1)
    made = []
    for _ in range(2):
        method = METHODS[name].make(12, 3)
        method.fit(data.features, data.labels)
        made.append(method.codes(others.features))
    assert made[0].shape == (50, 2)
    assert made[0].dtype == np.uint8
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.unpackbits(made[0], axis=1)[:, 12:].any()
    assert len(np.unique(bits_of(made[0], 12), axis=0)) > 1


@pytest.mark.parametrize("name", METHODS)
def test_codes_before_fit_raise(name: str) -> None:
    with pytest.raises(MethodError, match="call fit first"):
        METHODS[name].make(8, 0).codes(toy(10).features)


@pytest.mark.parametrize("name", SUPERVISED)
def test_supervised_methods_without_labels_raise(name: str) -> None:
    data = toy(100)
    with pytest.raises(MethodError, match=f"{METHODS[name].title}.* needs labels, but these images have none"):
        METHODS[name].make(8, 0).fit(data.features)
    with pytest.raises(MethodError, match="these images have one"):
        METHODS[name].make(8, 0).fit(data.features, np.zeros(100, np.int64))


@pytest.mark.parametrize("name", ["sh", "itq"])
def test_axis_based_methods_with_more_bits_than_dimensions_raise(name: str) -> None:
    data = toy(100)
    with pytest.raises(MethodError, match=r"25 bits.*24"):
        METHODS[name].make(25, 0).fit(data.features)
    with pytest.raises(MethodError, match=r"more than 16 images.*not 12"):
        METHODS[name].make(16, 0).fit(data.features[:12])


def test_method_ranking_matches_published_results(precisions: dict[str, float]) -> None:
    """Supervised methods rank above unsupervised ones; ours above pair-based ones."""
    without = max(precisions[name] for name in METHODS if name not in SUPERVISED)
    assert min(precisions[name] for name in SUPERVISED) > without + 0.05, precisions
    assert precisions["ours"] > max(precisions[name] for name in ("bre", "mlh")), precisions
    assert precisions["ours"] > 0.9, precisions


def test_stratified_sample_balances_classes() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 4])
    chosen = stratified_sample(labels, 30, 0)
    assert len(set(chosen.tolist())) == 30
    assert np.bincount(labels[chosen]).tolist() == [13, 13, 4]
    assert sorted(stratified_sample(labels, 1000, 0).tolist()) == list(range(154))
    assert not np.array_equal(chosen, stratified_sample(labels, 30, 1))


def test_half_of_the_sampled_pairs_are_of_one_class() -> None:
    labels = np.repeat(np.arange(10), 30)
    left, right = sample_pairs(labels, 4000, np.random.default_rng(0))
    same = labels[left] == labels[right]
    assert same[::2].all()
    assert same[1::2].mean() == pytest.approx(0.1, abs=0.03)
    assert len(np.unique(right)) == 300


def test_pack_bits_pads_the_last_byte_with_zeros() -> None:
    np.testing.assert_array_equal(
        pack_bits(np.array([[1.0, -1, 0, 2, -3, 1, 1, 1, 5, -1]])), [[0b10010111, 0b10000000]]
    )
