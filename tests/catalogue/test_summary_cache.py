"""The cache of rows that searches show: bounded, and never older than the last change that was applied."""

import pytest

from app.catalogue.queries import ImageSummary
from app.catalogue.summary_cache import SummaryCache


def row(key: str, size: int = 2) -> ImageSummary:
    return ImageSummary(key, None, {}, size)


def none() -> list[int]:
    pytest.fail("an empty cache has nothing to discard")


def test_stored_rows_are_returned_until_they_are_discarded() -> None:
    cache = SummaryCache()
    generation, found = cache.get([1, 2])
    assert found == {}
    cache.store({1: row("one"), 2: row("two")}, generation)
    assert cache.get([2, 3, 1])[1] == {1: row("one"), 2: row("two")}
    cache.discard(lambda: [2, 99])
    assert cache.get([1, 2])[1] == {1: row("one")}


def test_row_that_was_read_before_a_change_is_not_stored_after_it() -> None:
    cache = SummaryCache()
    before, _ = cache.get([1])
    cache.discard(none)
    cache.store({1: row("old")}, before)
    assert cache.get([1])[1] == {}


def test_row_that_is_read_while_changed_ids_are_fetched_is_discarded_if_it_changed() -> None:
    cache = SummaryCache()
    cache.store({1: row("old"), 2: row("two")}, cache.get([1])[0])

    def changed() -> list[int]:
        cache.store({1: row("new"), 3: row("three")}, cache.get([1])[0])
        return [1]

    cache.discard(changed)
    assert cache.get([1, 2, 3])[1] == {2: row("two"), 3: row("three")}


def test_least_recently_used_rows_are_dropped_at_the_memory_limit() -> None:
    cache = SummaryCache(max_bytes=12_000)
    for image_id in range(1, 4):
        cache.store({image_id: row(f"{image_id}", size=300)}, cache.get([1])[0])
    assert list(cache.get(range(1, 5))[1]) == [1, 2, 3]
    cache.get([1])
    cache.store({4: row("4", size=300)}, cache.get([])[0])
    assert list(cache.get(range(1, 5))[1]) == [1, 3, 4]
    cache.store({5: row("large", size=10_000)}, cache.get([])[0])
    assert cache.get(range(1, 6))[1] == {}
    cache.store({1: row("1")}, cache.get([])[0])
    assert cache.get([1])[1] == {1: row("1")}, "the bytes of dropped rows are free again"
