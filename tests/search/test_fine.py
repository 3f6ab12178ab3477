"""Exact L2 over selected rows compared with brute force in float64."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.search.local.fine import l2_distances, smallest_k


@pytest.mark.parametrize("dim", [1, 7, 48, 1280, 4096])
def test_distances_equal_brute_force(dim: int) -> None:
    rng = np.random.default_rng(dim)
    vectors = rng.normal(size=(300, dim)).astype(np.float32)
    query = rng.normal(size=dim).astype(np.float32)
    slots = rng.integers(0, 300, 120)
    expected = np.linalg.norm(vectors[slots].astype(np.float64) - query, axis=1)
    found = l2_distances(query, vectors, slots)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_vector_is_at_distance_0_from_itself() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 1280)).astype(np.float32) * 1000
    assert l2_distances(vectors[3], vectors, np.array([3, 3])).tolist() == [0, 0]


def test_distances_on_a_mapped_file(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    (tmp_path / "vectors").write_bytes(vectors.tobytes())
    mapped = np.memmap(tmp_path / "vectors", np.float32, "r", shape=(64, 96))
    slots = np.arange(63, -1, -2)
    np.testing.assert_array_equal(l2_distances(vectors[0], mapped, slots), l2_distances(vectors[0], vectors, slots))


def test_slots_and_queries_may_be_non_contiguous() -> None:
    rng = np.random.default_rng(0)
    vectors, wide = rng.normal(size=(50, 16)).astype(np.float32), rng.normal(size=32)
    slots = np.arange(50)[::-3]
    expected = np.linalg.norm(vectors[slots] - wide[::2], axis=1)
    np.testing.assert_allclose(l2_distances(wide[::2].astype(np.float32), vectors, slots), expected, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 127, 128, 500])
def test_float16_vectors_are_compared_in_float32(count: int) -> None:
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(600, 33)).astype(np.float16)
    slots = rng.permutation(600)[:count]
    query = rng.normal(size=33).astype(np.float32)
    rounded = query.astype(np.float16).astype(np.float64)
    expected = np.linalg.norm(halves[slots].astype(np.float64) - rounded, axis=1)
    np.testing.assert_allclose(l2_distances(query, halves, slots), expected, rtol=1e-5)
    itself = rng.normal(size=33).astype(np.float32)
    halves[slots[0]] = itself
    assert l2_distances(itself, halves, slots)[0] == 0, "the same image is at distance 0"


def test_float16_vectors_that_are_not_finite_come_last() -> None:
    halves = np.ones((300, 8), np.float16)
    halves[[3, 200], 5] = np.nan, np.inf
    found = l2_distances(np.zeros(8, np.float32), halves, np.arange(300))
    assert np.flatnonzero(np.isinf(found)).tolist() == [3, 200]
    assert np.delete(found, [3, 200]).tolist() == [np.float32(np.sqrt(8))] * 298


def test_no_slots_give_no_distances() -> None:
    assert l2_distances(np.zeros(4, np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)).shape == (0,)


@pytest.mark.parametrize("slot", [-1, 10, 2**40, -(2**40)])
def test_slot_out_of_range_raises(slot: int) -> None:
    with pytest.raises(IndexError, match="out of range: the matrix has 10 rows"):
        l2_distances(np.zeros(4, np.float32), np.zeros((10, 4), np.float32), np.array([0, slot, 9]))


def test_query_of_another_length_raises() -> None:
    with pytest.raises(ValueError, match="query of shape"):
        l2_distances(np.zeros(5, np.float32), np.zeros((10, 4), np.float32), np.array([0]))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    values=st.lists(st.sampled_from((0.0, 0.5, 1.0, 2.0)), max_size=40), k=st.integers(0, 50), seed=st.integers(0, 9)
)
def test_smallest_returns_ascending_values_with_ties_by_id(values: list[float], k: int, seed: int) -> None:
    ids = np.random.default_rng(seed).permutation(len(values)) * 3
    found = smallest_k(np.array(values, np.float32), ids, k)
    expected = sorted(range(len(values)), key=lambda at: (values[at], ids[at]))[:k]
    assert found.tolist() == expected
