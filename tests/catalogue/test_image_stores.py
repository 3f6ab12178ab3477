"""Image stores: the same tests for local and S3 storage."""

import time
from pathlib import Path

import pytest

from app.catalogue.storage.factory import open_storage
from app.catalogue.storage.local import content_hash
from app.catalogue.storage.protocol import ImageStorage, bucket_and_prefix, original_name
from tests.s3 import BUCKET, S3Server, s3

__all__ = ["s3"]

ONE, TWO = b"the first picture", bytes(range(256)) * 4000
FIRST, SECOND = content_hash(ONE), content_hash(TWO)


@pytest.fixture(params=["folder", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder that contains the store's files."""
    if request.param == "folder":
        return tmp_path / "data" / "pictures"
    server: S3Server = request.getfixturevalue("s3")
    return server.folder / BUCKET / "some" / "prefix"


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> ImageStorage:
    location = f"s3://{BUCKET}/some/prefix" if folder.name == "prefix" else None
    return open_storage(location, tmp_path / "data")


def all_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def streamed(store: ImageStorage, sha256: str) -> bytes:
    picture = store.open(sha256)
    data = b"".join(picture.chunks)
    picture.close()
    assert len(data) == picture.size
    return data


def test_originals_are_stored_byte_for_byte(store: ImageStorage) -> None:
    store.store({FIRST: ONE, SECOND: TWO})
    for sha256, data in ((FIRST, ONE), (SECOND, TWO)):
        assert store.read(sha256) == data
        assert streamed(store, sha256) == data
    assert set(store.hashes()) == {FIRST, SECOND}


def test_object_names_are_the_same_in_all_stores(store: ImageStorage, folder: Path) -> None:
    store.store({FIRST: ONE})
    store.store_thumbnails({FIRST: b"small"})
    assert all_files(folder) == {original_name(FIRST), f"thumbnails/{FIRST[:2]}/{FIRST}.jpg"}


def test_existing_original_is_not_rewritten(store: ImageStorage, folder: Path) -> None:
    store.store({FIRST: ONE})
    before = (folder / original_name(FIRST)).stat()
    store.store({FIRST: ONE, SECOND: TWO})
    after = (folder / original_name(FIRST)).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_missing_returns_unknown_hashes(store: ImageStorage) -> None:
    store.store({FIRST: ONE})
    assert store.missing([FIRST, SECOND]) == {SECOND}
    assert store.missing([]) == set()


def test_damaged_original_is_set_aside(store: ImageStorage, folder: Path) -> None:
    store.store({FIRST: b"damaged"})
    store.set_aside(FIRST)
    assert all_files(folder) == {f"damaged/{FIRST}"}
    assert list(store.hashes()) == []
    with pytest.raises(FileNotFoundError):
        store.set_aside(FIRST)
    store.store({FIRST: ONE})
    assert store.read(FIRST) == ONE


def test_thumbnail_is_replaced(store: ImageStorage) -> None:
    store.store_thumbnails({FIRST: b"old", SECOND: b"another"})
    store.store_thumbnails({FIRST: b"new"})
    assert (store.read_thumbnail(FIRST), store.read_thumbnail(SECOND)) == (b"new", b"another")


def test_read_of_a_missing_object_raises_file_not_found(store: ImageStorage) -> None:
    store.store({FIRST: ONE})
    for ask in (store.read, store.open, store.read_thumbnail):
        with pytest.raises(FileNotFoundError):
            ask(SECOND)


def test_remove_deletes_original_and_thumbnail_idempotently(store: ImageStorage, folder: Path) -> None:
    store.store({FIRST: ONE, SECOND: TWO})
    store.store_thumbnails({FIRST: b"small"})
    store.remove(FIRST)
    store.remove(FIRST)
    with pytest.raises(FileNotFoundError):
        store.read(FIRST)
    assert all_files(folder) == {original_name(SECOND)}


def test_original_removed_during_streaming_stays_readable(store: ImageStorage) -> None:
    store.store({FIRST: ONE})
    picture = store.open(FIRST)
    store.remove(FIRST)
    assert b"".join(picture.chunks) == ONE
    picture.close()


def test_hashes_can_be_filtered_by_age(store: ImageStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    store.store({FIRST: ONE, SECOND: TWO})
    assert list(store.hashes(older_than=3600)) == []
    in_two_hours = time.time() + 7200
    monkeypatch.setattr(time, "time", lambda: in_two_hours)
    assert set(store.hashes(older_than=3600)) == set(store.hashes()) == {FIRST, SECOND}


def test_listing_returns_all_pages(store: ImageStorage) -> None:
    pictures = {content_hash(data): data for data in (b"%d" % number for number in range(1200))}
    store.store(pictures)
    assert sorted(store.hashes()) == sorted(pictures)


def test_empty_store_and_empty_calls_work(store: ImageStorage) -> None:
    store.store({})
    store.store_thumbnails({})
    assert list(store.hashes()) == []


@pytest.mark.parametrize(
    ("location", "expected"),
    [("s3://one", ("one", "")), ("s3://one/", ("one", "")), ("s3://one/two/three/", ("one", "two/three"))],
)
def test_location_is_split_into_bucket_and_prefix(location: str, expected: tuple[str, str]) -> None:
    assert bucket_and_prefix(location) == expected


@pytest.mark.parametrize("location", ["", "one/two", "https://one/two", "s3://", "s3:///two", "s3://one?region=two"])
def test_invalid_location_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET/PREFIX"):
        bucket_and_prefix(location)
