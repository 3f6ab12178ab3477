"""Sync of Milvus with the catalogue: lost collections, missing entities, orphans."""

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from sqlalchemy import select

from app.bootstrap import Service
from app.catalogue import changes
from app.catalogue.database.tables import Image
from app.errors import LookalikeError, UnavailableError
from app.ingest.uploads import Upload
from app.maintenance.sync import MilvusSync, SyncResult
from app.search.milvus.index import MilvusIndex
from app.search.types import Encodings, Mode, SearchOptions
from app.settings import Settings
from tests.catalogue.test_index_sync import opened, picture
from tests.fakes import BITS, FEATURE_DIM

PICTURES = 12


@pytest.fixture
def service(in_milvus: Settings) -> Iterator[Service]:
    with ExitStack() as stack:
        service = opened(in_milvus, stack)
        service.ingest.add([Upload(picture(at), f"key {at}", {}) for at in range(PICTURES)])
        yield service


def index_of(service: Service) -> MilvusIndex:
    assert isinstance(service.index, MilvusIndex)
    return service.index


def sync(service: Service, young: float = 0) -> SyncResult:
    reports: list[tuple[int, int]] = []
    run = MilvusSync(service.database, service.storage, index_of(service), service.embedding_writer)
    done = run.run(lambda done, total: reports.append((done, total)), young - 1)
    assert reports[-1] == (PICTURES, PICTURES)
    return done


def slots(service: Service) -> set[int]:
    """All slots in Milvus."""
    return set(index_of(service).collection.list_inserted_before(2**40, 0, None).tolist())


def all_are_found(service: Service, *, but: int | None = None) -> None:
    for at in range(PICTURES):
        for mode in Mode:
            match, row = service.searcher.by_image(picture(at), SearchOptions(k=1, mode=mode)).matches[0]
            if at != but:
                assert (row.key, match.distance, match.hamming) == (f"key {at}", 0.0, 0)


def test_sync_of_a_consistent_catalogue_changes_nothing(service: Service) -> None:
    assert sync(service) == SyncResult(0, 0, [])
    all_are_found(service)


def test_lost_collection_is_filled_from_the_originals(service: Service, in_milvus: Settings) -> None:
    index_of(service).collection.drop()
    with pytest.raises(UnavailableError, match="lookalike sync"):
        service.searcher.by_image(picture(0), SearchOptions())
    with pytest.raises(UnavailableError, match="lookalike sync"):
        service.index.check_available()
    with ExitStack() as stack, pytest.raises(LookalikeError, match="lookalike sync"):
        opened(in_milvus, stack)
    index_of(service).collection.create()
    assert sync(service) == SyncResult(PICTURES, 0, [])
    all_are_found(service)
    assert len(slots(service)) == PICTURES


def test_only_missing_images_are_encoded(service: Service) -> None:
    there = sorted(slots(service))
    index_of(service).collection.delete(there[2:5])
    assert sync(service) == SyncResult(3, 0, [])
    assert slots(service) >= {*there[:2], *there[5:]}
    all_are_found(service)


def test_orphan_of_a_crashed_addition_is_deleted_once_it_is_old(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("a crash")

    before = slots(service)
    with monkeypatch.context() as patched:
        patched.setattr(changes, "put_images", crash)
        with pytest.raises(RuntimeError):
            service.ingest.add([Upload(picture(100), "never", {})])
    (orphan,) = slots(service) - before
    all_are_found(service)
    assert service.searcher.by_image(picture(100), SearchOptions(mode=Mode.ES)).matches[0][0].distance > 0
    assert sync(service, young=3600) == SyncResult(0, 0, []), "its addition may be in progress"
    assert orphan in slots(service)
    assert sync(service) == SyncResult(0, 1, [])
    assert slots(service) == before


def test_service_deletes_replaced_and_deleted_vectors_after_a_grace_period(service: Service) -> None:
    before = slots(service)
    service.ingest.add([Upload(picture(200), "key 3", {})])
    assert len(slots(service)) == PICTURES + 1, "a search may still need the replaced vector"
    # As if the grace period were over.
    index_of(service)._deferred.delay = 0.0
    service.ingest.delete(found(service, "key 5").id)
    assert len(slots(service)) == PICTURES - 1
    assert len(before - slots(service)) == 2


def found(service: Service, key: str) -> Image:
    with service.database.read_session() as session:
        return session.scalars(select(Image).where(Image.key == key)).one()


def test_slots_beyond_the_database_are_deleted(service: Service) -> None:
    index_of(service).store(
        np.array([10**6, 10**6 + 1]),
        Encodings(np.zeros((2, BITS // 8), np.uint8), np.zeros((2, FEATURE_DIM), np.float32)),
    )
    assert sync(service) == SyncResult(0, 2, [])


def test_images_without_originals_are_reported_and_skipped(service: Service) -> None:
    index_of(service).collection.delete(sorted(slots(service)))
    service.storage.remove(found(service, "key 4").sha256)
    done = sync(service)
    assert (done.encoded, done.lost) == (PICTURES - 1, ["key 4"])
    all_are_found(service, but=4)
