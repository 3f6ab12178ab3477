"""Local storage of originals and thumbnails: writes are atomic and durable."""

import errno
import os
from pathlib import Path

import pytest

from app.catalogue.storage.local import LocalStorage, content_hash
from app.errors import UnavailableError

ONE, TWO = b"the first picture", b"the second picture"
FIRST, SECOND = content_hash(ONE), content_hash(TWO)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def files(folder: Path) -> LocalStorage:
    return LocalStorage(folder)


def all_files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def raise_no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_content_hash_is_sha_256() -> None:
    assert content_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_originals_are_stored_byte_for_byte(files: LocalStorage) -> None:
    files.store({FIRST: ONE, SECOND: TWO})
    assert files.original(FIRST).read_bytes() == ONE
    assert files.original(SECOND).read_bytes() == TWO
    assert set(files.hashes()) == {FIRST, SECOND}


def test_existing_original_is_not_rewritten(files: LocalStorage) -> None:
    files.store({FIRST: ONE})
    before = files.original(FIRST).stat()
    files.store({FIRST: ONE, SECOND: TWO})
    after = files.original(FIRST).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_thumbnail_is_replaced(files: LocalStorage) -> None:
    files.store_thumbnails({FIRST: b"old"})
    files.store_thumbnails({FIRST: b"new"})
    assert files.thumbnail(FIRST).read_bytes() == b"new"


def test_remove_deletes_original_and_thumbnail_idempotently(files: LocalStorage, folder: Path) -> None:
    files.store({FIRST: ONE})
    files.store_thumbnails({FIRST: b"small"})
    files.remove(FIRST)
    files.remove(FIRST)
    assert all_files(folder) == set()


def test_new_folder_has_no_hashes(files: LocalStorage) -> None:
    assert list(files.hashes()) == []


def test_original_is_synced_before_it_is_renamed(
    files: LocalStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, bool] = {}

    def sync(fd: int) -> None:
        synced[Path(f"/proc/self/fd/{fd}").readlink().name] = files.original(FIRST).exists()

    files.original(FIRST).parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", sync)
    files.store({FIRST: ONE})
    (temporary,) = (name for name in synced if FIRST in name)
    assert not synced[temporary]
    assert synced[FIRST[:2]], "the folder is synced after the rename"


def test_temporary_files_are_not_listed(files: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    files.store({FIRST: ONE})
    half = files.original(FIRST).with_name(f".{SECOND}.1234.abcd")
    half.write_bytes(TWO[:3])
    assert list(files.hashes()) == [FIRST]


def test_full_disk_raises_and_leaves_no_files(
    files: LocalStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def until_full(path: Path, data: bytes) -> int:
        written = write(path, data[:4])
        if data == TWO:
            raise_no_space()
        return written

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", until_full)
        with pytest.raises(UnavailableError, match="full"):
            files.store({FIRST: ONE, SECOND: TWO})
        with pytest.raises(UnavailableError, match="full"):
            files.store_thumbnails({FIRST: TWO})
    assert all_files(folder) == set()
    files.store({FIRST: ONE, SECOND: TWO})
    assert all_files(folder) == {FIRST, SECOND}


def test_disk_full_at_sync_leaves_no_files(files: LocalStorage, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.original(FIRST).parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", raise_no_space)
    with pytest.raises(UnavailableError, match="full"):
        files.store({FIRST: ONE})
    assert all_files(folder) == set()


def test_other_write_errors_are_not_reported_as_full_disk(files: LocalStorage, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_bytes(b"a file where the folder should be")
    with pytest.raises(UnavailableError, match="failed: Not a directory"):
        files.store({FIRST: ONE})
