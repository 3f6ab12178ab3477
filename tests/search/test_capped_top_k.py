"""Gathering the nearest of an engine that has limits, against sorting everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.search.milvus.capped_top_k import Gathering, Hits

NOBODY = -1


class Engine:
    """Slots at whole distances; ties come in an order of its own, and no answer has more than so many."""

    def __init__(self, count: int, distances: int, most: int, seed: int, whose: float = 0.8) -> None:
        rng = np.random.default_rng(seed)
        self.most, self.asked = most, list[int]()
        self.slots = np.sort(rng.choice(5 * count + 1, count, replace=False))
        self.distances = rng.integers(0, distances, count).astype(np.float64)
        self._chance = rng.permutation(count)
        # Ids do not grow with slots, and some slots are nobody's.
        self.ids = np.where(rng.random(count) < whose, rng.permutation(count), NOBODY)

    def nearest(self, start: int, stop: int, limit: int) -> Hits:
        assert 1 <= limit <= self.most
        self.asked.append(limit)
        here = np.flatnonzero((self.slots >= start) & (self.slots < stop))
        order = here[np.lexsort((self._chance[here], self.distances[here]))][:limit]
        return Hits(self.slots[order], self.distances[order])

    def pictures(self, slots: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.int64]:
        return self.ids[np.searchsorted(self.slots, slots)]

    def expected(self, wanted: int | None, farthest: float | None) -> list[int]:
        near = np.flatnonzero((self.ids != NOBODY) & (self.distances <= (np.inf if farthest is None else farthest)))
        order = near[np.lexsort((self.ids[near], self.distances[near]))][:wanted]
        return [int(picture_id) for picture_id in self.ids[order]]

    def gather(self, wanted: int | None, farthest: float | None, usual: int) -> list[int]:
        found = Gathering(self.nearest, self.pictures, self.most).nearest(wanted, farthest, usual)
        assert (self.pictures(found.slots) == found.ids).all()
        assert (np.diff(found.distances) >= 0).all()
        return [int(picture_id) for picture_id in found.ids]


@settings(deadline=None)
@given(
    count=st.integers(0, 200),
    distances=st.integers(1, 40),
    most=st.integers(2, 64),
    seed=st.integers(0, 1000),
    wanted=st.none() | st.integers(1, 250),
    farthest=st.none() | st.integers(0, 40),
    usual=st.integers(0, 300),
    whose=st.sampled_from([0.0, 0.1, 0.8, 1.0]),
)
def test_what_is_gathered_is_what_sorting_everything_finds(
    count: int,
    distances: int,
    most: int,
    seed: int,
    wanted: int | None,
    farthest: int | None,
    usual: int,
    whose: float,
) -> None:
    engine = Engine(count, distances, most, seed, whose)
    assert engine.gather(wanted, farthest, usual) == engine.expected(wanted, farthest)


def test_one_question_does_where_distances_differ() -> None:
    engine = Engine(10_000, 10**9, 1000, 0, whose=1.0)
    assert engine.gather(100, None, 110) == engine.expected(100, None)
    assert engine.asked == [220]


def test_only_as_many_as_will_do_are_asked_whose_they_are() -> None:
    engine, asked = Engine(10_000, 10**9, 1000, 0, whose=1.0), list[int]()

    def pictures(slots: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.int64]:
        asked.append(len(slots))
        return engine.pictures(slots)

    Gathering(engine.nearest, pictures, 1000).nearest(100, None, 110)
    assert asked == [110]


@pytest.mark.parametrize("wanted", [1, 100, 5000])
def test_where_all_are_alike_the_smallest_ids_are_found(wanted: int) -> None:
    engine = Engine(5000, 1, 500, 0, whose=1.0)
    assert engine.gather(wanted, None, wanted) == list(range(wanted))


def test_a_picture_that_moves_while_it_is_looked_for_is_found_once() -> None:
    engine = Engine(100, 1, 20, 0, whose=1.0)
    found = Gathering(engine.nearest, lambda slots: np.full(len(slots), 7), 20).nearest(None, None, 10)
    assert found.ids.tolist() == [7]
