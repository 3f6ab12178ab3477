"""The filter cache, compared with fresh queries."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from typing import cast

import numpy as np
import pytest
from sqlalchemy import event, select

from app.bootstrap import Service
from app.catalogue.database.tables import Image
from app.catalogue.filters.cache import FilterCache
from app.catalogue.metadata_patch import MetadataPatch
from app.ingest.uploads import Upload
from app.search.filter import parse_filter
from app.search.local.index import LocalIndex
from app.search.types import SearchOptions, Subset
from app.settings import Settings
from tests.catalogue.test_index_sync import opened, picture

LABELS = ("boots", "hats", "it's 100 % \\ “both”", None)


def add(service: Service, key: str, label: str | None) -> int:
    (added,) = service.ingest.add([Upload(picture(len(key)), key, MetadataPatch(label=label))])
    assert added.id is not None
    return added.id


def passing(service: Service, label: str | None, filter_: str | None = None) -> list[int] | None:
    service.index_sync.synced_index()
    subset = service.index_sync.filtered(
        SearchOptions(label=label, filter=None if filter_ is None else parse_filter(filter_))
    )
    return None if subset is None else subset.ids.tolist()


def expected(service: Service, label: str) -> list[int]:
    with service.database.read_session() as session:
        return list(session.scalars(select(Image.id).where(Image.label == label).order_by(Image.id)))


@pytest.mark.slow
def test_cached_filters_follow_changes_of_all_processes(settings: Settings) -> None:
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        one, two = opened(settings, stack), opened(settings, stack)
        ids: list[int] = []
        for step in range(60):
            writer, what, label = (one, two)[step % 2], rng.integers(4), LABELS[rng.integers(4)]
            if what < 2 or not ids:
                ids.append(add(writer, f"key {step}", label))
            elif what == 2:
                writer.ingest.update_metadata(int(rng.choice(ids)), {"label": label})
            else:
                writer.ingest.delete(ids.pop(rng.integers(len(ids))))
            for name in LABELS[:3]:
                assert name is not None
                queries: tuple[tuple[str | None, str | None], ...] = ((name, None), (None, json.dumps({"label": name})))
                for service, filters in product((one, two), queries):
                    found = passing(service, *filters)
                    # The subset may contain deleted images, which the index ignores.
                    assert [one_id for one_id in found or [] if one_id in ids] == expected(one, name)
    assert ids


def test_without_a_filter_there_is_no_subset(service: Service) -> None:
    assert passing(service, None) is None


def test_filter_is_queried_once_while_nothing_changes(service: Service) -> None:
    kept = add(service, "one", "boots")
    service.index_sync.synced_index()
    first = service.index_sync.filtered(SearchOptions(label="boots"))
    queries: list[str] = []
    event.listen(service.database.engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    service.index_sync.synced_index()
    again = service.index_sync.filtered(SearchOptions(label="boots"))
    assert first is again is not None
    assert again.ids.tolist() == [kept]
    assert len(queries) == 1, "only the seq is read"


class Cache:
    """A filter cache that counts its database queries; `beside` is the index's memory per subset."""

    def __init__(self, service: Service, max_bytes: int, beside: int = 0) -> None:
        self.filters = FilterCache(max_bytes, lambda _: beside)
        self._database, self.queries = service.database, 0
        event.listen(service.database.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.queries += 1

    def subset(self, label: str, seq: int = 0) -> Subset:
        found = self.filters.subset(self._database, SearchOptions(label=label), seq)
        assert found is not None
        return found


def test_least_recently_used_filters_are_evicted(service: Service) -> None:
    for number in range(3):
        add(service, f"key {number}", f"label {number}")
    cache = Cache(service, max_bytes=2 * 10_000, beside=7_000)
    zero, one = cache.subset("label 0"), cache.subset("label 1")
    assert cache.subset("label 0") is zero, "recently used, so not evicted next"
    cache.subset("label 2")
    queries = cache.queries
    assert cache.subset("label 0") is zero
    assert cache.queries == queries
    assert cache.subset("label 1") is not one
    assert cache.filters.bytes_in_use <= 2 * 10_000


def test_cache_stays_within_its_memory_limit(service: Service) -> None:
    cache = Cache(service, max_bytes=50_000, beside=3_000)
    for number in range(100):
        cache.subset(f"label {number}")
        assert cache.filters.bytes_in_use <= 50_000
    assert cache.filters.bytes_in_use > 40_000


def test_result_larger_than_the_cache_is_not_cached(service: Service) -> None:
    kept = add(service, "one", "boots")
    cache = Cache(service, max_bytes=50_000, beside=60_000)
    assert cache.subset("boots").ids.tolist() == cache.subset("boots").ids.tolist() == [kept]
    assert (cache.queries, cache.filters.bytes_in_use) == (2, 0)


def test_bytes_beside_includes_the_index_mask(service: Service) -> None:
    for number in range(5):
        add(service, f"key {number}", "boots" if number else "hats")
    subset = SearchOptions(label="hats")
    service.searcher.by_image(picture(1), subset)
    found = service.index_sync.filtered(subset)
    assert found is not None
    masks = cast(LocalIndex, service.index).table._masks
    assert service.index.subset_cache_bytes(found) >= masks[found][1].nbytes > 0


def test_concurrent_calls_share_one_query(service: Service) -> None:
    add(service, "one", "boots")
    cache, together = Cache(service, max_bytes=50_000), threading.Barrier(12)

    def ask(_: int) -> Subset:
        together.wait()
        return cache.subset("boots")

    with ThreadPoolExecutor(12) as threads:
        found = set(threads.map(ask, range(12)))
    assert len(found) == 1
    assert cache.queries == 1


def test_cached_filter_is_updated_with_new_images(service: Service) -> None:
    cache = Cache(service, max_bytes=50_000)
    before = cache.subset("boots")
    added = add(service, "one", "boots")
    service.index_sync.synced_index()
    after = cache.subset("boots", service.index_sync.seq)
    assert (before.ids.tolist(), after.ids.tolist()) == ([], [added])
    assert cache.subset("boots", service.index_sync.seq) is after
