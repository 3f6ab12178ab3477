"""Measures against manual calculations, and against their definitions in plain Python."""

from itertools import permutations
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation import metrics
from models.evaluation.metrics import code_health


def relevance(pattern: str) -> NDArray[np.bool_]:
    return np.array([sign == "x" for sign in pattern], np.bool_)


def reference_ap(relevant: NDArray[np.bool_]) -> float:
    precisions = [float(relevant[: at + 1].mean()) for at in range(len(relevant)) if relevant[at]]
    return sum(precisions) / len(precisions) if precisions else 0.0


@pytest.mark.parametrize(
    ("pattern", "k", "expected"),
    [("x.x.", 1, 1), ("x.x.", 2, 1 / 2), ("x.x.", 3, 2 / 3), ("....", 4, 0), ("xxxx", 4, 1), ("xx", 4, 1 / 2)],
)
def test_precision_at_k(pattern: str, k: int, expected: float) -> None:
    assert metrics.precision_at(relevance(pattern), k) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("x", 1), (".x", 1 / 2), ("x.x", (1 + 2 / 3) / 2), ("..xx", (1 / 3 + 2 / 4) / 2), ("...", 0), ("xxx", 1), ("", 0)],
)
def test_average_precision(pattern: str, expected: float) -> None:
    assert metrics.average_precision(relevance(pattern)) == pytest.approx(expected)


def test_average_precision_matches_its_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        relevant = rng.random(50) < 0.3
        assert metrics.average_precision(relevant) == pytest.approx(reference_ap(relevant))


@pytest.mark.parametrize("seed", range(6))
def test_tie_aware_average_precision_is_the_mean_over_all_tie_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.integers(0, 3, 6))
    relevant = rng.random(6) < 0.5
    orders = [order for order in permutations(range(6)) if (np.diff(distances[list(order)]) >= 0).all()]
    expected = np.mean([reference_ap(relevant[list(order)]) for order in orders])
    assert metrics.tie_aware_average_precision(relevant, distances) == pytest.approx(expected)


def test_precision_within_a_radius() -> None:
    distances = np.array([0, 2, 2, 3, 9])
    relevant = relevance("x.xx.")
    assert metrics.precision_within(relevant, distances, 2) == pytest.approx(2 / 3)
    assert metrics.precision_within(relevant, distances, 3) == pytest.approx(3 / 4)
    assert metrics.precision_within(relevant, distances + 5, 2) is None


def test_precision_by_recall_takes_the_maximum_at_higher_recall() -> None:
    found = metrics.precision_by_recall(relevance("x..xx"))
    # Recall 1/3 after one image (precision 1), 2/3 after four (1/2), 1 after five (3/5).
    np.testing.assert_allclose(found, [1] * 7 + [3 / 5] * 14)
    np.testing.assert_allclose(metrics.precision_by_recall(relevance("...")), np.zeros(21))


def test_accuracy() -> None:
    logits = np.array([[1, 2, 0], [5, 2, 0], [0, 0, 1], [3, 2, 1]], np.float32)
    assert metrics.accuracy(logits, np.array([1, 0, 2, 2])) == 0.75


def test_rankings_break_ties_by_position() -> None:
    codes = np.array([[0b11], [0b00], [0b01], [0b00], [0b10]], np.uint8)
    assert metrics.rank_by_hamming(np.array([0], np.uint8), codes).tolist() == [1, 3, 2, 4, 0]
    assert metrics.rank(np.array([3, -1, 1, 0, 1])).tolist() == [1, 3, 2, 4, 0]


def test_rank_of_floats_matches_a_stable_sort() -> None:
    distances = np.random.default_rng(0).integers(-30, 30, 1000).astype(np.float32) / 7
    distances[:4] = 0.0, -0.0, np.inf, 1e-40
    assert metrics.rank(distances).tolist() == np.argsort(distances, kind="stable").tolist()


@pytest.mark.parametrize("norm", ["raw", "unit"])
def test_squared_distances_omit_only_the_query_norm(norm: Literal["raw", "unit"]) -> None:
    rng = np.random.default_rng(0)
    queries, features = rng.normal(size=(130, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    found = np.stack(list(metrics.squared_distances(queries, features, norm)))
    if norm == "unit":
        queries, features = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, features))
    exact = np.square(features[None] - queries[:, None]).sum(axis=2)
    np.testing.assert_allclose(found + np.square(queries).sum(axis=1)[:, None], exact, atol=1e-5)


def test_rerank_reorders_only_the_pool() -> None:
    distances = np.array([9, 1, 2, 0, 2], np.float32)
    assert metrics.rerank(np.array([4, 0, 2, 1, 3]), distances, 3).tolist() == [2, 4, 0, 1, 3]


def test_retrieval_matches_manual_calculation() -> None:
    """One query: codes rank a wrong image first; F7 ranks it last of all, or last in a pool of three."""
    codes = np.array([[0b0000], [0b0001], [0b0011], [0b1111]], np.uint8)
    features = np.array([[8], [1], [2], [0.5]], np.float32)
    labels = np.array([1, 0, 0, 0])
    queries = (np.array([[0]], np.uint8), np.array([[0]], np.float32), np.array([0]))
    found = metrics.retrieval(queries, (codes, features, labels), k=2, pool=3)
    assert found["bcs"] == pytest.approx({"precision": 1 / 2, "map": (1 / 2 + 2 / 3 + 3 / 4) / 3})
    assert found["es"] == pytest.approx({"precision": 1, "map": 1})
    assert found["hds"] == pytest.approx({"precision": 1, "map": (1 + 1 + 3 / 4) / 3})


def test_retrieval_matches_its_definition() -> None:
    rng = np.random.default_rng(1)
    codes, features = rng.integers(0, 4, (40, 2), np.uint8), rng.normal(size=(40, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 40)
    queries = (codes[:7] ^ np.uint8(1), features[:7] + np.float32(0.1), labels[:7])
    precisions, averages = [], []
    for code, label in zip(queries[0], queries[2], strict=True):
        bits = np.unpackbits(codes ^ code, axis=1).sum(axis=1)
        hits = labels[np.lexsort((np.arange(40), bits))] == label
        precisions.append(hits[:5].mean())
        averages.append(reference_ap(hits))
    found = metrics.retrieval(queries, (codes, features, labels), k=5, pool=10)
    assert found["bcs"] == pytest.approx({"precision": np.mean(precisions), "map": np.mean(averages)})
    whole = metrics.retrieval(queries, (codes, features, labels), k=5, pool=40)
    assert whole["hds"] == whole["es"]


def test_code_health_matches_manual_calculation() -> None:
    """Bit 0 is balanced, bit 1 its opposite, bit 2 a quarter; the others are constant."""
    codes = np.array([[0b10100000], [0b10000000], [0b01000000], [0b01000000]], np.uint8)
    health = code_health(codes, np.array([0, 0, 0, 1]))
    assert (health.bits, health.pictures, health.distinct, health.colliding) == (8, 4, 3, 2)
    assert (health.dead, health.nearly_dead) == (5, 0)
    assert health.ones == pytest.approx((0.5, 0.5, 0.25, 0, 0, 0, 0, 0))
    quarter = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert health.entropy == pytest.approx((1 + 1 + quarter) / 8)
    half_known = 1 / np.sqrt(3)
    assert health.correlation == pytest.approx((1 + half_known + half_known) / 3)


def test_bits_that_rarely_change_are_nearly_dead() -> None:
    codes = np.zeros((1000, 1), np.uint8)
    codes[:4] |= 0b1000_0000
    codes[:40] |= 0b0100_0000
    codes[:400] |= 0b0010_0000
    health = code_health(codes, np.zeros(1000, np.int64))
    assert (health.dead, health.nearly_dead, health.colliding) == (6, 1, 0)


def test_precision_by_recall_of_codes_is_independent_of_tie_order() -> None:
    ends = np.array([2, 4])
    first, second = (metrics.precision_by_recall(relevance(pattern), ends).tolist() for pattern in ("x.x.", ".x.x"))
    assert first == second == [0.5] * 21


def test_zero_vectors_have_finite_distances_at_unit_length() -> None:
    query, features = np.array([[3, 4]], np.float32), np.array([[0, 0], [6, 8], [-3, -4]], np.float32)
    (found,) = metrics.squared_distances(query, features, "unit")
    np.testing.assert_allclose(found + 1, [1, 0, 4], atol=1e-6)


def test_ties_number_groups_and_separate_parts() -> None:
    exact, codes = np.array([0.5, 0.5, 0.7], np.float32), np.array([0, 3, 3, 4])
    assert metrics.ties(exact, codes).tolist() == [0, 0, 1, 2, 3, 3, 4]
    assert metrics.ties(np.array([2, 2]), np.array([2])).tolist() == [0, 0, 1]
    assert metrics.ties(exact, codes[:0]).tolist() == [0, 0, 1]
