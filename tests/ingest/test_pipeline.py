"""Ingest pipeline: outcomes of additions, failures at every step, concurrency."""

import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import pytest
from PIL import Image as PILImage
from sqlalchemy import make_url, select

from app.bootstrap import Service
from app.catalogue import changes
from app.catalogue.changes import CatalogueChangedError, Put, PutResult
from app.catalogue.database.tables import Encoding, Image
from app.catalogue.encodings import NewEncoding
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.storage.local import LocalStorage, content_hash
from app.catalogue.storage.orphan_cleanup import remove_unused
from app.catalogue.vectors.file import VectorFile
from app.errors import NotFoundError, UnavailableError
from app.ingest import embedding_writer
from app.ingest.jobs.stop import Stop
from app.ingest.pipeline import IngestPipeline
from app.ingest.uploads import AddResult, Upload
from app.search.types import SearchOptions
from tests.catalogue.postgres import connect
from tests.fakes import FakeEncoder
from tests.images import encoded, every_format, gradient
from tests.vector_files import vector_file

BROKEN = b"not a picture"


def picture(seed: int) -> bytes:
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return encoded(PILImage.fromarray(colours).resize((16, 16), PILImage.Resampling.NEAREST), "PNG")


def upload(key: str | None, data: bytes, **given: Any) -> Upload:
    return Upload(data, key, cast("MetadataPatch", given))


def add(service: Service, key: str | None, data: bytes, **given: Any) -> AddResult:
    (added,) = service.ingest.add([upload(key, data, **given)])
    return added


def statuses(added: Sequence[AddResult]) -> list[str]:
    return [item.status for item in added]


def nearest(service: Service, data: bytes) -> tuple[str, float] | None:
    """Key and distance of the best match."""
    matches = service.searcher.by_image(data, SearchOptions(k=1)).matches
    return (matches[0][1].key, matches[0][0].distance) if matches else None


def rows(service: Service) -> list[Image]:
    with service.database.read_session() as session:
        return list(session.scalars(select(Image).order_by(Image.id)))


def originals(service: Service) -> set[str]:
    return set(service.storage.hashes())


def files_on_disk(service: Service) -> set[str]:
    folder = service.settings.data_dir / "pictures"
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_new_image_is_created_with_original_and_thumbnail(service: Service) -> None:
    data = encoded(gradient(64, 48), "JPEG", orientation=6)
    added = add(service, "one", data, label="boots", metadata={"price": 3})
    (row,) = rows(service)
    assert added == AddResult(row.id, "one", "created")
    assert (row.width, row.height, row.media_type, row.size_bytes) == (64, 48, "image/jpeg", len(data))
    assert (row.label, row.metadata_) == ("boots", {"price": 3})
    assert service.storage.read(row.sha256) == data
    assert service.storage.read_thumbnail(row.sha256).startswith(b"\xff\xd8")
    assert nearest(service, data) == ("one", 0.0)


def test_every_format_is_added_and_found(service: Service) -> None:
    for kind, data in every_format(gradient()).items():
        added = add(service, kind, data)
        assert added.status == "created"
        assert nearest(service, data) == (kind, 0.0)
        service.ingest.delete(added.id or 0)


def test_default_key_is_the_hash_of_the_bytes(service: Service) -> None:
    assert add(service, None, picture(1)).key == content_hash(picture(1))
    assert add(service, None, picture(1)).status == "unchanged"


def test_same_image_again_is_unchanged_and_not_encoded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    first = add(service, "one", picture(1))
    monkeypatch.setattr(FakeEncoder, "encode_many", broken)
    assert add(service, "one", picture(1)) == AddResult(first.id, "one", "unchanged")
    assert add(service, "one", picture(1), label="boots") == AddResult(first.id, "one", "updated")


def test_absent_fields_stay_and_given_fields_replace(service: Service) -> None:
    add(service, "one", picture(1), label="boots", metadata={"price": 3, "size": 42})
    assert add(service, "one", picture(2)).status == "updated"
    assert (rows(service)[0].label, rows(service)[0].metadata_) == ("boots", {"price": 3, "size": 42})
    assert add(service, "one", picture(2), label=None, metadata={"price": 4}).status == "updated"
    assert (rows(service)[0].label, rows(service)[0].metadata_) == (None, {"price": 4})


def test_new_bytes_replace_the_image_and_its_files(service: Service) -> None:
    before = add(service, "one", picture(1))
    after = add(service, "one", picture(2))
    assert after == AddResult(before.id, "one", "updated")
    assert originals(service) == {content_hash(picture(2))}
    with pytest.raises(FileNotFoundError):
        service.storage.read_thumbnail(content_hash(picture(1)))
    assert nearest(service, picture(2)) == ("one", 0.0)
    found = nearest(service, picture(1))
    assert found is not None
    assert found[1] > 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_invalid_image_is_rejected_alone_and_in_order(service: Service, place: int) -> None:
    uploads = [upload("one", picture(1)), upload("two", picture(2))]
    uploads.insert(place, upload("broken", BROKEN))
    added = service.ingest.add(uploads)
    assert [item.key for item in added] == [item.key for item in uploads]
    assert statuses(added) == ["rejected" if index == place else "created" for index in range(3)]
    assert added[place].id is None
    assert added[place].code == "image_format_unsupported"
    assert [row.key for row in rows(service)] == ["one", "two"]
    assert content_hash(BROKEN) not in originals(service)


def test_rejected_bytes_do_not_change_the_image_with_the_key(service: Service) -> None:
    before = add(service, "one", picture(1), label="boots")
    assert add(service, "one", BROKEN, label="shoes").status == "rejected"
    (row,) = rows(service)
    assert (row.id, row.label, row.sha256) == (before.id, "boots", content_hash(picture(1)))


def test_only_rejected_images_change_nothing(service: Service) -> None:
    assert statuses(service.ingest.add([upload("a", BROKEN), upload("b", b"")])) == ["rejected", "rejected"]
    assert rows(service) == []
    assert files_on_disk(service) == set()


@pytest.mark.parametrize(
    ("seeds", "expected", "kept"),
    [
        ((1, 1), ["created", "unchanged"], 1),
        ((1, 2), ["created", "updated"], 2),
        ((1, 2, 1), ["created", "updated", "updated"], 1),
    ],
)
def test_last_item_of_a_duplicate_key_wins(
    service: Service, seeds: Sequence[int], expected: list[str], kept: int
) -> None:
    added = service.ingest.add([upload("one", picture(seed)) for seed in seeds])
    assert statuses(added) == expected
    assert len({item.id for item in added}) == len(rows(service)) == 1
    assert nearest(service, picture(kept)) == ("one", 0.0)
    assert originals(service) == {content_hash(picture(kept))}


def test_key_changed_and_changed_back_in_one_request(service: Service) -> None:
    add(service, "one", picture(1))
    added = service.ingest.add([upload("one", picture(2)), upload("one", picture(1))])
    assert statuses(added) == ["updated", "updated"]
    assert nearest(service, picture(1)) == ("one", 0.0)
    assert originals(service) == {content_hash(picture(1))}


def test_shared_original_is_deleted_with_its_last_key(service: Service) -> None:
    one, two = service.ingest.add([upload("one", picture(1)), upload("two", picture(1))])
    assert statuses([one, two]) == ["created", "created"]
    assert one.id is not None
    assert two.id is not None
    shared = content_hash(picture(1))
    service.ingest.delete(one.id)
    assert service.storage.read(shared) == picture(1)
    assert nearest(service, picture(1)) == ("two", 0.0)
    service.ingest.delete(two.id)
    assert files_on_disk(service) == set()
    assert nearest(service, picture(1)) is None


def test_shared_original_outlives_a_replacement(service: Service) -> None:
    service.ingest.add([upload("one", picture(1)), upload("two", picture(1))])
    add(service, "one", picture(2))
    assert originals(service) == {content_hash(picture(1)), content_hash(picture(2))}


def test_deleted_image_added_again_gets_a_new_id(service: Service) -> None:
    first = add(service, "one", picture(1))
    assert first.id is not None
    service.ingest.delete(first.id)
    again = add(service, "one", picture(1))
    assert again.status == "created"
    assert again.id is not None
    assert again.id > first.id
    assert nearest(service, picture(1)) == ("one", 0.0)
    assert service.storage.read(content_hash(picture(1))) == picture(1)


def test_deleting_an_unknown_id_raises_not_found(service: Service) -> None:
    with pytest.raises(NotFoundError):
        service.ingest.delete(1)


def broken(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("a crash")


def full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("owner", "name", "failure", "error"),
    [
        (os, "pwrite", full, UnavailableError),
        (Path, "write_bytes", full, UnavailableError),
        (FakeEncoder, "encode_many", broken, RuntimeError),
        (LocalStorage, "store", broken, RuntimeError),
        (LocalStorage, "store_thumbnails", broken, RuntimeError),
        (VectorFile, "write", broken, RuntimeError),
        (embedding_writer, "reserve_slots", broken, RuntimeError),
        (changes, "put_images", broken, RuntimeError),
    ],
)
def test_failure_at_any_step_adds_nothing_and_can_be_retried(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    failure: Callable[..., NoReturn],
    error: type[Exception],
) -> None:
    add(service, "there", picture(1))
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failure)
        with pytest.raises(error):
            service.ingest.add([upload("two", picture(2)), upload("three", picture(3))])
    assert [row.key for row in rows(service)] == ["there"]
    assert len(service.index_sync.synced_index()) == 1
    assert statuses(service.ingest.add([upload("two", picture(2)), upload("three", picture(3))])) == ["created"] * 2
    for key, seed in (("there", 1), ("two", 2), ("three", 3)):
        assert nearest(service, picture(seed)) == (key, 0.0)


def test_full_disk_adds_nothing_and_can_be_retried(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(UnavailableError, match="full"):
            add(service, "one", picture(1))
    assert nearest(service, picture(1)) is None
    assert add(service, "one", picture(1)).status == "created"
    assert nearest(service, picture(1)) == ("one", 0.0)


def test_lost_database_connection_adds_nothing_and_can_be_retried(
    service: Service, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = changes.put_images

    def put_and_hang_up(*given: Any, **options: Any) -> list[PutResult]:
        done = put(*given, **options)
        with connect(migrated_url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [make_url(migrated_url).database],
            )
        return done

    with monkeypatch.context() as patched:
        patched.setattr(changes, "put_images", put_and_hang_up)
        with pytest.raises(UnavailableError):
            add(service, "one", picture(1))
    assert rows(service) == []
    assert len(service.index_sync.synced_index()) == 0
    assert add(service, "one", picture(1)).status == "created"
    assert nearest(service, picture(1)) == ("one", 0.0)


def test_original_deleted_during_an_addition_is_stored_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    put, once = changes.put_images, iter([content_hash(picture(1))])

    def delete_original_and_put(*given: Any, **options: Any) -> list[PutResult]:
        remove_unused(service.database, service.storage, list(once))
        return put(*given, **options)

    monkeypatch.setattr(changes, "put_images", delete_original_and_put)
    add(service, "one", picture(1))
    assert service.storage.read(content_hash(picture(1))) == picture(1)


def test_change_between_lookup_and_commit_repeats_the_addition(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, prepare = add(service, "one", picture(1)), IngestPipeline._prepare
    assert first.id is not None
    deletions = iter([first.id])

    def prepare_and_delete(ingest: IngestPipeline, uploads: Sequence[Upload], stop: Stop, **options: bool) -> Any:
        items = prepare(ingest, uploads, stop, **options)
        for image_id in deletions:
            service.ingest.delete(image_id)
        return items

    monkeypatch.setattr(IngestPipeline, "_prepare", prepare_and_delete)
    again = add(service, "one", picture(1))
    assert again.status == "created"
    assert again.id != first.id
    assert nearest(service, picture(1)) == ("one", 0.0)


def test_catalogue_that_changes_at_every_attempt_is_unavailable(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(*_: object, **__: object) -> NoReturn:
        raise CatalogueChangedError

    monkeypatch.setattr(changes, "put_images", changed)
    with pytest.raises(UnavailableError, match="changed repeatedly while"):
        add(service, "one", picture(1))
    assert rows(service) == []


@pytest.mark.parametrize("refused", ["originals", "vectors", "commit"])
def test_slots_of_failed_additions_are_released(
    service: Service, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise CatalogueChangedError if refused == "commit" else UnavailableError("It is away.")

    owner, name = {
        "originals": (LocalStorage, "store"),
        "vectors": (type(service.index), "store"),
        "commit": (changes, "put_images"),
    }[refused]
    left = list[int]()
    monkeypatch.setattr(type(service.index), "free", lambda _, slots: left.extend(slots.tolist()))
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(UnavailableError):
            service.ingest.add([upload("one", picture(1)), upload("two", picture(2))])
    add(service, "one", picture(1))
    with service.database.read_session() as session:
        (used,) = session.scalars(select(Encoding.slot))
    assert left == list(range(used))
    left.clear()
    service.ingest.add([upload("two", picture(2)), upload("two", picture(3))])
    assert left == [used + 1], "of a duplicate key the last item wins"


def test_files_are_complete_before_the_commit(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    put = changes.put_images
    data, sha256 = picture(1), content_hash(picture(1))
    complete: list[bool] = []

    def check_files_and_put(
        session: Any, index_version_id: int, puts: Sequence[Put], **options: bool
    ) -> list[PutResult]:
        slots = np.array([made(item).slot for item in puts])
        sums = np.array([made(item).checksum for item in puts], np.uint32)
        complete.append(bool(service.index.verify(slots, sums).all()) and sha256 in service.storage.hashes())
        return put(session, index_version_id, puts, **options)

    monkeypatch.setattr(changes, "put_images", check_files_and_put)
    add(service, "one", data)
    assert complete == [True]


def made(put: Put) -> NewEncoding:
    assert put.encoding is not None
    return put.encoding


def test_concurrent_additions_get_distinct_slots(service: Service) -> None:
    def add_two(number: int) -> list[str]:
        own, shared = upload(f"own {number}", picture(number)), upload("shared", picture(number))
        return statuses(service.ingest.add([own, shared]))

    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(add_two, range(12)))
    assert [own for own, _ in outcomes] == ["created"] * 12
    assert sorted(shared for _, shared in outcomes) == ["created"] + ["updated"] * 11
    assert len(rows(service)) == 13
    with service.database.read_session() as session:
        slots = session.scalars(select(Encoding.slot)).all()
    assert len(set(slots)) == 13
    assert originals(service) == {content_hash(picture(number)) for number in range(12)}
    for number in range(12):
        found = nearest(service, picture(number))
        assert found is not None
        assert found[1] == 0


@pytest.mark.usefixtures("free_at_once")
def test_replaced_images_free_the_disk_space_of_their_vectors(service: Service) -> None:
    keys = [f"key {one}" for one in range(60)]
    service.ingest.add([upload(key, picture(one)) for one, key in enumerate(keys)])
    before = vector_file(service).bytes_on_disk
    service.ingest.add([upload(key, picture(100 + one)) for one, key in enumerate(keys)])
    assert vector_file(service).bytes_on_disk < before
    for one, key in enumerate(keys):
        assert nearest(service, picture(100 + one)) == (key, 0.0)
