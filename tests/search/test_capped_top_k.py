"""Exact top-k over a capped engine, compared with sorting everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.search.milvus.capped_top_k import CappedTopK, Hits

NO_IMAGE = -1


class Engine:
    """Fake engine with integer distances, ties in random order and a result cap."""

    def __init__(self, count: int, distances: int, cap: int, seed: int, used: float = 0.8) -> None:
        rng = np.random.default_rng(seed)
        self.cap, self.limits = cap, list[int]()
        self.slots = np.sort(rng.choice(5 * count + 1, count, replace=False))
        self.distances = rng.integers(0, distances, count).astype(np.float64)
        self._chance = rng.permutation(count)
        # Ids are not in the order of slots, and some slots have no image.
        self.ids = np.where(rng.random(count) < used, rng.permutation(count), NO_IMAGE)

    def nearest(self, start: int, stop: int, limit: int) -> Hits:
        assert 1 <= limit <= self.cap
        self.limits.append(limit)
        here = np.flatnonzero((self.slots >= start) & (self.slots < stop))
        order = here[np.lexsort((self._chance[here], self.distances[here]))][:limit]
        return Hits(self.slots[order], self.distances[order])

    def image_ids(self, slots: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.int64]:
        return self.ids[np.searchsorted(self.slots, slots)]

    def expected(self, k: int | None, max_distance: float | None) -> list[int]:
        near = np.flatnonzero(
            (self.ids != NO_IMAGE) & (self.distances <= (np.inf if max_distance is None else max_distance))
        )
        order = near[np.lexsort((self.ids[near], self.distances[near]))][:k]
        return [int(image_id) for image_id in self.ids[order]]

    def top_k(self, k: int | None, max_distance: float | None, expected_hits: int) -> list[int]:
        found = CappedTopK(self.nearest, self.image_ids, self.cap).nearest(k, max_distance, expected_hits)
        assert (self.image_ids(found.slots) == found.ids).all()
        assert (np.diff(found.distances) >= 0).all()
        return [int(image_id) for image_id in found.ids]


@settings(deadline=None)
@given(
    count=st.integers(0, 200),
    distances=st.integers(1, 40),
    cap=st.integers(2, 64),
    seed=st.integers(0, 1000),
    k=st.none() | st.integers(1, 250),
    max_distance=st.none() | st.integers(0, 40),
    expected_hits=st.integers(0, 300),
    used=st.sampled_from([0.0, 0.1, 0.8, 1.0]),
)
def test_top_k_equals_sorting_everything(
    count: int,
    distances: int,
    cap: int,
    seed: int,
    k: int | None,
    max_distance: int | None,
    expected_hits: int,
    used: float,
) -> None:
    engine = Engine(count, distances, cap, seed, used)
    assert engine.top_k(k, max_distance, expected_hits) == engine.expected(k, max_distance)


def test_one_query_is_enough_if_distances_differ() -> None:
    engine = Engine(10_000, 10**9, 1000, 0, used=1.0)
    assert engine.top_k(100, None, 110) == engine.expected(100, None)
    assert engine.limits == [220]


def test_image_ids_are_looked_up_for_expected_hits_only() -> None:
    engine, looked_up = Engine(10_000, 10**9, 1000, 0, used=1.0), list[int]()

    def image_ids(slots: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.int64]:
        looked_up.append(len(slots))
        return engine.image_ids(slots)

    CappedTopK(engine.nearest, image_ids, 1000).nearest(100, None, 110)
    assert looked_up == [110]


@pytest.mark.parametrize("k", [1, 100, 5000])
def test_equal_distances_give_the_smallest_ids(k: int) -> None:
    engine = Engine(5000, 1, 500, 0, used=1.0)
    assert engine.top_k(k, None, k) == list(range(k))


def test_image_replaced_during_the_search_is_returned_once() -> None:
    engine = Engine(100, 1, 20, 0, used=1.0)
    found = CappedTopK(engine.nearest, lambda slots: np.full(len(slots), 7), 20).nearest(None, None, 10)
    assert found.ids.tolist() == [7]
