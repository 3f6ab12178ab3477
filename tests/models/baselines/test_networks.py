"""CNNH, CNNH+, ours and SSDH: the neural methods on fixed features."""

import numpy as np
import torch

from models.comparison.baselines import cnnh
from models.comparison.baselines.cnnh import FactorisedCodes
from models.comparison.baselines.cnnh_plus import FactorisedCodesAndClasses
from models.comparison.baselines.latent import LatentLayer
from models.comparison.baselines.method import stratified_sample
from models.comparison.baselines.ssdh import SemanticsPreservingHash
from tests.models.baselines.toy import CLASSES, bits_of, toy


def residual(codes: cnnh.Doubles, similar: cnnh.Doubles) -> float:
    """Return Σ (s − h·h/bits)² over pairs of different images."""
    differ = similar - codes.T @ codes / len(codes)
    np.fill_diagonal(differ, 0)
    return float(np.square(differ).sum())


def test_factorisation_steps_reduce_the_residual() -> None:
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], 8)
    similar = np.where(labels[:, None] == labels, 1.0, -1.0)
    codes = rng.uniform(-1, 1, (6, len(labels)))
    before = residual(codes, similar)
    for image in rng.permutation(len(labels)):
        cnnh.improve(codes, image, similar[image])
        after = residual(codes, similar)
        assert after <= before + 1e-9
        before = after
    assert np.abs(codes).max() <= 1


def test_factorised_codes_separate_classes() -> None:
    labels = np.random.default_rng(1).integers(0, 4, 200)
    codes = cnnh.factorise(labels, 24, np.random.default_rng(0)) > 0
    distances = (codes[:, None] != codes).sum(axis=2)
    same = labels[:, None] == labels
    assert distances[same].mean() < 1
    assert distances[~same].min() > 6


def test_cnnh_network_generalises_to_new_images() -> None:
    data, others = toy(), toy(200, seed=1)
    method = FactorisedCodes(16)
    method.fit(data.features, data.labels)
    codes = bits_of(method.codes(others.features), 16)
    medians = np.stack([np.median(codes[others.labels == label], axis=0) for label in range(CLASSES)])
    nearest = (codes[:, None] != medians).sum(axis=2).argmin(axis=1)
    assert (nearest == others.labels).mean() > 0.9


def test_cnnh_plus_network_predicts_classes_too() -> None:
    data, others = toy(), toy(200, seed=1)
    method = FactorisedCodesAndClasses(16)
    method.fit(data.features, data.labels)
    assert method._network is not None
    with torch.inference_mode():
        said = method._network(torch.from_numpy(others.features)).numpy()
    assert said.shape == (200, 16 + CLASSES)
    assert (said[:, 16:].argmax(axis=1) == others.labels).mean() > 0.9
    np.testing.assert_array_equal(bits_of(method.codes(others.features), 16), said[:, :16] > 0)


def test_pair_based_methods_ignore_images_beyond_their_limit() -> None:
    data = toy(400)
    few = FactorisedCodes(8, most=100)
    few.fit(data.features, data.labels)
    changed = data.features.copy()
    chosen = stratified_sample(data.labels, 100, 0)
    untouched = np.setdiff1d(np.arange(400), chosen)
    changed[untouched] = 1e6
    again = FactorisedCodes(8, most=100)
    again.fit(changed, data.labels)
    np.testing.assert_array_equal(few.codes(data.features), again.codes(data.features))


def activations(method: LatentLayer) -> np.typing.NDArray[np.float32]:
    data, others = toy(), toy(200, seed=1)
    method.fit(data.features, data.labels)
    assert method._latent is not None
    with torch.inference_mode():
        found: np.typing.NDArray[np.float32] = method._latent(torch.from_numpy(others.features)).numpy()
    np.testing.assert_array_equal(bits_of(method.codes(others.features), method.bits), found > 0.5)
    return found


def test_ssdh_activations_are_near_zero_or_one() -> None:
    ours, theirs = activations(LatentLayer(16)), activations(SemanticsPreservingHash(16))
    assert ((ours >= 0) & (ours <= 1)).all()
    assert np.abs(theirs - 0.5).mean() > np.abs(ours - 0.5).mean()


def test_ssdh_sets_half_of_an_images_bits() -> None:
    def imbalance(method: LatentLayer) -> float:
        return float(np.square(activations(method).mean(axis=1) - 0.5).mean())

    assert imbalance(SemanticsPreservingHash(16)) < imbalance(SemanticsPreservingHash(16, balance=0.0))
