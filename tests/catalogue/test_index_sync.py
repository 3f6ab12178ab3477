"""Index sync: every process finds exactly what any process acknowledged."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event, make_url

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue import index_versions
from app.catalogue.database.sessions import Database
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.selection import Selection
from app.catalogue.trash import TrashSelection
from app.errors import NotFoundError, UnavailableError
from app.ingest.uploads import Upload
from app.search.types import Match, Mode, SearchOptions
from app.settings import Settings
from tests.catalogue.postgres import connect
from tests.fakes import BITS, FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.images import encoded
from tests.vector_files import vector_file


def picture(seed: int) -> bytes:
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return encoded(Image.fromarray(colours).resize((16, 16), Image.Resampling.NEAREST), "PNG")


def add(service: Service, key: str, seed: int, label: str | None = None) -> int:
    (added,) = service.ingest.add([Upload(picture(seed), key, MetadataPatch(label=label))])
    assert added.id is not None, added.error
    return added.id


def opened(settings: Settings, stack: ExitStack) -> Service:
    """Open the service as another process does, with its own connections."""
    database = stack.enter_context(closing(Database(str(settings.database_url))))
    return stack.enter_context(
        build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT)
    )


@pytest.fixture
def pair(settings: Settings) -> Iterator[tuple[Service, Service]]:
    with ExitStack() as stack:
        yield opened(settings, stack), opened(settings, stack)


def ids(service: Service) -> list[int]:
    found = service.index_sync.synced_index().candidates(np.zeros(BITS // 8, np.uint8), None, None, None)
    return sorted(found.ids.tolist())


def answer(
    service: Service, seed: int, mode: Mode = Mode.HDS, label: str | None = None
) -> list[tuple[Match, str, str | None]]:
    found = service.searcher.by_image(picture(seed), SearchOptions(mode=mode, label=label))
    return [(match, row.key, row.label) for match, row in found.matches]


def agree(one: Service, two: Service, seed: int) -> bool:
    return all(answer(one, seed, mode) == answer(two, seed, mode) for mode in Mode)


def test_added_image_is_found_by_the_other_process(pair: tuple[Service, Service]) -> None:
    for number in range(6):
        writer, reader = pair[number % 2], pair[1 - number % 2]
        new = add(writer, f"key {number}", number)
        match, key, _ = answer(reader, number)[0]
        assert (match, key) == (Match(new, 0.0, 0), f"key {number}")
        assert agree(writer, reader, number)


def test_replaced_image_is_found_by_the_other_process(pair: tuple[Service, Service]) -> None:
    one, two = pair
    for number in range(4):
        add(one, f"key {number}", number)
    assert ids(one) == ids(two)
    changed = add(two, "key 2", 99)
    assert answer(one, 99)[0][0] == Match(changed, 0.0, 0)
    assert answer(one, 2)[0][0].distance > 0, "the old image is gone"
    assert agree(one, two, 99)
    assert agree(one, two, 2)


def test_deleted_image_is_not_found_by_the_other_process(pair: tuple[Service, Service]) -> None:
    one, two = pair
    added = [add(one, f"key {number}", number) for number in range(4)]
    assert ids(two) == added
    two.ingest.delete(added[1])
    assert ids(one) == ids(two) == [added[0], *added[2:]]
    with pytest.raises(NotFoundError):
        one.searcher.by_id(added[1], SearchOptions())
    assert agree(one, two, 1)


def test_changed_label_is_filtered_by_the_other_process(pair: tuple[Service, Service]) -> None:
    one, two = pair
    first, second = add(one, "one", 1, "boots"), add(one, "two", 2, "boots")
    two.ingest.update_metadata(first, {"label": "shoes"})
    assert [match.id for match, _, _ in answer(one, 1, label="boots")] == [second]
    assert [(match.id, label) for match, _, label in answer(one, 1, label="shoes")] == [(first, "shoes")]
    assert answer(one, 1, label="hats") == []


def test_changed_rows_are_shown_by_the_other_process(settings: Settings) -> None:
    with ExitStack() as stack:
        kept = settings.model_copy(update={"trash_days": 1.0})
        rows_are_current(opened(kept, stack), opened(kept, stack))


def rows_are_current(one: Service, two: Service) -> None:
    """Change, delete and restore an image in one process; check what the other one shows of it after each."""
    first, second = add(one, "one", 1, "boots"), add(one, "two", 2)
    assert [label for _, _, label in answer(two, 1)] == ["boots", None]
    one.ingest.update_metadata(first, {"label": "shoes"})
    assert [label for _, _, label in answer(two, 1)] == ["shoes", None]
    deleted = one.trash.delete(Selection(ids=(first,)), 1)
    assert [match.id for match, _, _ in answer(two, 1)] == [second]
    one.trash.restore(TrashSelection(days=1, deletion_id=deleted.deletion_id))
    one.ingest.update_metadata(first, {"label": "hats"})
    assert [label for _, _, label in answer(two, 1)] == ["hats", None]
    assert agree(one, two, 1)


def test_repeated_search_takes_one_round_trip_to_the_database(service: Service) -> None:
    for number in range(3):
        add(service, f"key {number}", number)
    first, statements = answer(service, 1), list[str]()
    event.listen(
        service.database.engine, "before_cursor_execute", lambda *arguments: statements.append(str(arguments[2]))
    )
    assert answer(service, 1) == first
    (statement,) = statements
    assert "FROM catalogue" in statement


def test_full_load_equals_incremental_sync(settings: Settings) -> None:
    with ExitStack() as stack:
        writer, index_sync = opened(settings, stack), opened(settings, stack)
        added = []
        for number in range(20):
            added.append(add(writer, f"key {number}", number % 15))
            ids(index_sync)
        for gone in added[::3]:
            writer.ingest.delete(gone)
            ids(index_sync)
        for number in (1, 2, 4):
            add(writer, f"key {number}", 100 + number)
        fresh = opened(settings, stack)
        assert ids(fresh) == ids(index_sync)
        assert fresh.index_sync.seq == index_sync.index_sync.seq
        assert len(fresh.index) == len(index_sync.index)
        assert all(agree(fresh, index_sync, seed) for seed in (0, 5, 101, 1000))


def test_float16_vectors_find_the_same_images(settings: Settings) -> None:
    with ExitStack() as stack:
        service = opened(settings.model_copy(update={"vector_dtype": "f16"}), stack)
        added = [add(service, f"key {number}", number) for number in range(12)]
        assert vector_file(service).path.suffix == ".f16"
        for mode in Mode:
            assert answer(service, 5, mode)[0][0] == Match(added[5], 0.0, 0)
        similar = service.searcher.by_id(added[5], SearchOptions())
        assert similar.matches[0][0] == Match(added[5], 0.0, 0)


def test_image_added_and_deleted_between_syncs_is_ignored(pair: tuple[Service, Service]) -> None:
    one, two = pair
    kept = add(one, "kept", 1)
    one.ingest.delete(add(one, "brief", 2))
    assert ids(two) == [kept]


def test_sync_without_changes_is_a_no_op(service: Service) -> None:
    add(service, "one", 1)
    index = service.index_sync.synced_index()
    seq = service.index_sync.seq
    assert service.index_sync.synced_index() is index
    assert service.index_sync.seq == seq


def test_concurrent_searches_find_all_acknowledged_images(pair: tuple[Service, Service]) -> None:
    one, two = pair
    for number in range(30):
        add(one, f"key {number}", number)
    together = threading.Barrier(8)

    def look(_: int) -> list[int]:
        together.wait(10)
        return ids(two)

    with ThreadPoolExecutor(8) as threads:
        looks = list(threads.map(look, range(8)))
    assert looks == [ids(one)] * 8


def test_index_of_the_previous_network_is_unavailable_after_a_switch(service: Service) -> None:
    network = replace(FAKE_NETWORK, name="other", fingerprint="0" * 16)
    with service.database.transaction() as session:
        index_versions.activate_for(session, network, Path("other.json"))
    with pytest.raises(UnavailableError, match="Restart"):
        service.index_sync.synced_index()
    with pytest.raises(UnavailableError):
        add(service, "one", 1)


def test_search_recovers_after_a_lost_database_connection(settings: Settings, migrated_url: str) -> None:
    with ExitStack() as stack:
        service = opened(settings, stack)
        new = add(service, "one", 1)
        with connect(migrated_url) as connection:
            name = make_url(migrated_url).database
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [name],
            )
        with pytest.raises(UnavailableError):
            service.index_sync.synced_index()
        assert ids(service) == [new]
