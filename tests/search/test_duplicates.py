"""Groups of duplicates, compared with connected components by brute force."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.search import duplicates
from app.search.duplicates import DuplicateFinder, DuplicateGroup, DuplicateKind, component
from app.search.local.index import LocalIndex
from app.search.types import IndexEntries

BITS, POOL = 16, 1000
MakeIndex = Callable[[Sequence[float]], LocalIndex]


@pytest.fixture
def make_index(tmp_path: Path) -> Iterator[MakeIndex]:
    """Makes an index of images with ids 1, 2, … at places on a line, which are their F7."""
    opened: list[VectorFile] = []

    def make(places: Sequence[float]) -> LocalIndex:
        vectors = VectorFile(tmp_path / f"{len(opened)}.f32", 1)
        opened.append(vectors)
        index, slots = LocalIndex(BITS, vectors), np.arange(len(places))
        codes = np.zeros((len(places), BITS // 8), np.uint8)
        checksums = vectors.write(slots, np.array(places, np.float32).reshape(-1, 1))
        index.add(IndexEntries(slots + 1, codes, slots, checksums))
        return index

    yield make
    for vectors in opened:
        vectors.close()


def every(_: int, others: Sequence[int]) -> set[int]:
    """Pixels that are always the same."""
    return set(others)


def undecided(_: int) -> set[int]:
    """Decisions of people: none."""
    return set()


def finder(
    index: LocalIndex, kind: DuplicateKind = DuplicateKind.EXACT, same: duplicates.SamePictures = every
) -> DuplicateFinder:
    return DuplicateFinder(index, POOL, same, undecided, kind, copies=1.0, near=3.0)


def ids_of(groups: Iterable[DuplicateGroup]) -> list[list[int]]:
    return [[group.oldest, *(match.id for match in group.duplicates)] for group in groups]


def partition(count: int, linked: Callable[[int, int], bool]) -> list[set[int]]:
    """Groups of two or more of the numbers 1 to `count`, merged pair by pair."""
    groups = [{one} for one in range(1, count + 1)]
    for one in range(1, count + 1):
        for other in range(one + 1, count + 1):
            if linked(one, other):
                first, second = (next(group for group in groups if member in group) for member in (one, other))
                if first is not second:
                    groups.remove(second)
                    first |= second
    return sorted((group for group in groups if len(group) > 1), key=min)


def test_chain_is_one_group_with_distances_to_its_oldest_image(make_index: MakeIndex) -> None:
    found = list(finder(make_index([1.9, 0.0, 2.7, 1.0, 9.0])).groups(range(1, 6)))
    assert ids_of(found) == [[1, 3, 4, 2]]
    assert [match.distance for match in found[0].duplicates] == pytest.approx([0.8, 0.9, 1.9])
    assert found[0].complete


def test_duplicates_of_one_image_are_compared_with_it_alone(make_index: MakeIndex) -> None:
    index = make_index([0.0, 0.9, 1.8])
    ends = finder(index).of_image(1), finder(index).of_image(2)
    assert [[match.id for match in found or []] for found in ends] == [[2], [1, 3]]
    assert finder(index).of_image(4) is None


def test_pixels_decide_which_pairs_are_copies(make_index: MakeIndex) -> None:
    def same(image_id: int, others: Sequence[int]) -> set[int]:
        return {other for other in others if other % 2 == image_id % 2}

    index = make_index([0.0, 0.1, 0.2, 0.3])
    assert ids_of(finder(index, same=same).groups(range(1, 5))) == [[1, 3], [2, 4]]


def test_near_duplicates_are_one_image_of_each_group_of_copies(make_index: MakeIndex) -> None:
    index = make_index([0.0, 0.5, 2.5, 2.7, 50.0])
    assert ids_of(finder(index, DuplicateKind.EXACT).groups(range(1, 6))) == [[1, 2], [3, 4]]
    near = finder(index, DuplicateKind.NEAR)
    assert ids_of(near.groups(range(1, 6))) == [[1, 3]]
    assert [match.id for match in near.of_image(2) or []] == [3]


def test_group_that_is_too_large_is_marked(make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_GROUP", 5)
    found = list(finder(make_index([0.0] * 9)).groups(range(1, 10)))
    assert ids_of(found) == [[1, 2, 3, 4, 5]]
    assert not found[0].complete


def test_image_without_duplicates_costs_one_search(make_index: MakeIndex) -> None:
    index = make_index([0.0, 10.0])
    asked: list[int] = []

    def same(image_id: int, others: Sequence[int]) -> set[int]:
        asked.append(image_id)
        return set(others)

    assert list(finder(index, same=same).groups([1, 2])) == []
    assert asked == [1, 2]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(places=st.lists(st.integers(0, 60), min_size=2, max_size=25), kind=st.sampled_from(list(DuplicateKind)))
def test_groups_are_the_connected_components(make_index: MakeIndex, places: list[int], kind: DuplicateKind) -> None:
    line: NDArray[np.float64] = np.array(places, float) / 2

    def apart(one: int, other: int) -> float:
        return float(abs(line[one - 1] - line[other - 1]))

    copies = partition(len(places), lambda one, other: apart(one, other) <= 1)
    oldest = {member: min(group) for group in copies for member in group}
    near = partition(
        len(places),
        lambda one, other: apart(one, other) <= 3 and oldest.get(one, one) == one and oldest.get(other, other) == other,
    )
    index = make_index(line.tolist())
    for step in (1, 4, 100):
        pages = [range(first, min(first + step, len(places) + 1)) for first in range(1, len(places) + 1, step)]
        found = [set(ids) for page in pages for ids in ids_of(finder(index, kind).groups(page))]
        assert found == (copies if kind is DuplicateKind.EXACT else near)


def test_component_ends_at_an_older_image() -> None:
    followed: list[int] = []

    def links(number: int) -> Iterator[int]:
        followed.append(number)
        yield from (number - 1, number + 1)

    assert component(50, links, until_older=True) == {49, 50}
    assert followed == [50]
    assert len(component(50, links)) == duplicates.MAX_GROUP


def test_neighbours_are_mutual(tmp_path: Path) -> None:
    """An image in a dense part is not linked to one outside whose pool it is in, but not the other way around."""
    features = np.array([[0.0], [0.0], [0.0], [0.5]], np.float32)
    codes = np.array([[0], [0], [0], [1]], np.uint8)
    with closing(VectorFile(tmp_path / "v.f32", 1)) as vectors:
        index = LocalIndex(8, vectors)
        index.add(IndexEntries(np.arange(1, 5), codes, np.arange(4), vectors.write(np.arange(4), features)))
        found = DuplicateFinder(index, 3, every, undecided, DuplicateKind.EXACT, copies=1.0, near=1.0)
        assert ids_of(found.groups(range(1, 5))) == [[1, 2, 3]]
        assert found.of_image(4) == []
