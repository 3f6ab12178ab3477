"""KSH, MLH and BRE: their objectives, against brute force where feasible."""

from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from models.comparison.baselines import bre, ksh, mlh
from models.comparison.baselines.kernel import Kernel
from models.comparison.baselines.method import sample_pairs
from tests.models.baselines.toy import toy

Numbers = NDArray[np.number]


def test_uncentred_kernel_is_one_at_its_anchor() -> None:
    features = toy(50).features
    kernel = Kernel.of(features[:10], features)
    np.testing.assert_allclose(kernel(features).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.diag(kernel(features[:10]) + kernel.mean), 1, atol=1e-5)
    slow = np.square(features[:, None] - features[None, :10]).sum(axis=2)
    np.testing.assert_allclose(kernel(features) + kernel.mean, np.exp(-slow / (2 * slow.mean())), atol=1e-5)


@pytest.fixture(scope="module")
def near() -> tuple[ksh.Reals, ksh.Reals]:
    """Return a kernel `(120, 20)` of labelled images and their similarities."""
    data = toy(120)
    kernel = Kernel.of(data.features[:20], data.features)
    same = data.labels[:, None] == data.labels
    return kernel(data.features).astype(np.float64), np.where(same, 1.0, -1.0)


def test_ksh_relaxation_is_optimal(near: tuple[ksh.Reals, ksh.Reals]) -> None:
    kernel, similar = near
    root = np.linalg.cholesky(kernel.T @ kernel + np.eye(20) * 1e-9).astype(np.float64)
    best = ksh.leading(kernel, similar, root)
    assert np.square(kernel @ best).sum() == pytest.approx(120, rel=1e-3)
    value = ksh.gain(kernel @ best, similar)
    for other in np.random.default_rng(0).normal(size=(200, 20)):
        scaled = other * np.sqrt(120) / np.linalg.norm(kernel @ other)
        assert ksh.gain(kernel @ scaled, similar) <= value * (1 + 1e-6)


def test_ksh_gradient_ascent_increases_the_objective(near: tuple[ksh.Reals, ksh.Reals]) -> None:
    kernel, similar = near
    start = np.random.default_rng(0).normal(size=20)
    end = ksh.climb(kernel, similar, start)
    assert ksh.gain(np.tanh(kernel @ end / 2), similar) > ksh.gain(np.tanh(kernel @ start / 2), similar)
    nowhere = np.zeros(20)
    np.testing.assert_array_equal(ksh.climb(kernel, similar, nowhere), nowhere)


def test_every_ksh_bit_reduces_the_residual(
    near: tuple[ksh.Reals, ksh.Reals],
) -> None:
    kernel, similar = near
    codes = ksh.signs(kernel @ ksh.greedy(kernel, similar, 8))
    left = [np.square(8 * similar - codes[:, :count] @ codes[:, :count].T).sum() for count in range(9)]
    assert all(after < before for before, after in pairwise(left)), left


@pytest.mark.parametrize("same", [True, False])
def test_mlh_loss_adjusted_codes_match_brute_force(same: bool) -> None:
    rng, bits, radius = np.random.default_rng(0), 4, 2.0
    every = np.array(list(product([0, 1], repeat=bits)))
    for _ in range(40):
        u, v = rng.normal(size=(2, 1, bits)).astype(np.float32)
        losses = mlh.hinge(bits, np.array([same]), radius)[0]

        g, h = mlh.loss_adjusted(u, v, np.array([same]), radius)
        found = loss_adjusted_value(losses, (g[0], u[0]), (h[0], v[0]))
        best = max(loss_adjusted_value(losses, (one, u[0]), (other, v[0])) for one in every for other in every)
        assert found == pytest.approx(best, abs=1e-5)


def loss_adjusted_value(losses: Numbers, one: tuple[Numbers, Numbers], other: tuple[Numbers, Numbers]) -> float:
    """Return the objective of loss-adjusted inference for two codes `(bits,)`, each with its projections."""
    (g, u), (h, v) = one, other
    return float(losses[(g != h).sum()] + g @ u + h @ v)


def test_mlh_hinge_penalises_distance_within_and_proximity_between_classes() -> None:
    losses = mlh.hinge(4, np.array([True, False]), 2.0)
    np.testing.assert_array_equal(losses, [[0, 0, 1, 2, 3], [3, 2, 1, 0, 0]])


def test_mlh_learning_reduces_the_loss() -> None:
    data, bits = toy(300), 16
    left, right = sample_pairs(data.labels, 2000, np.random.default_rng(5))
    same = data.labels[left] == data.labels[right]
    lost = []
    for steps in (0, mlh.PAIRS_PER_IMAGE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mlh, "PAIRS_PER_IMAGE", steps)
            method = mlh.MinimalLossHashing(bits)
            method.fit(data.features, data.labels)
        codes = np.unpackbits(method.codes(data.features), axis=1)[:, :bits]
        distances = (codes[left] != codes[right]).sum(axis=1)
        lost.append(mlh.hinge(bits, same, bits * mlh.RADIUS)[np.arange(2000), distances].mean())
    assert lost[1] < 0.9 * lost[0], lost


def test_bre_weight_update_is_optimal() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        projected, near = rng.normal(size=(2, 12))
        between = rng.integers(0, 12, (2, 40))
        costs = rng.normal(size=40)
        flips = np.sort(-projected / near)
        every = [flips[0] - 1, *((flips[:-1] + flips[1:]) / 2), flips[-1] + 1]
        found = bre.best_change(projected, near, (between[0], between[1]), costs)
        best = min(cost(projected + change * near, between, costs) for change in every)
        assert cost(projected + found * near, between, costs) == pytest.approx(best)


def cost(projected: bre.Doubles, between: bre.Positions, costs: bre.Doubles) -> float:
    """Return the total cost of the pairs whose bits differ."""
    ones = projected > 0
    return float(costs[ones[between[0]] != ones[between[1]]].sum())


def objective(embedding: bre.Embedding) -> float:
    """Return BRE's objective Σ (d − d̃)², d̃ being the share of the bits that differ."""
    ones = embedding.projected > 0
    differ = ones[embedding.between[0]] != ones[embedding.between[1]]
    return float(np.square(embedding.wanted - differ.mean(axis=1)).sum())


def test_bre_sweeps_never_increase_the_objective() -> None:
    data, rng = toy(150), np.random.default_rng(0)
    between = sample_pairs(data.labels, 3000, rng)
    wanted = (data.labels[between[0]] != data.labels[between[1]]).astype(np.float64)
    kernel = Kernel.of(data.features, data.features)
    embedding = bre.Embedding(kernel(data.features).astype(np.float64), between, wanted, 8, rng)
    errors = [objective(embedding)]
    for _ in range(3):
        embedding.sweep()
        errors.append(objective(embedding))
    assert all(after <= before + 1e-9 for before, after in pairwise(errors)), errors
    assert errors[-1] < 0.7 * errors[0], errors
    np.testing.assert_allclose(embedding.projected, kernel(data.features) @ embedding.weights, atol=1e-4)
