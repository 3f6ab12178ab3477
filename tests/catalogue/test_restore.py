"""Restore from incomplete, damaged or conflicting backups: a clear error, no changes, and a retry works."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from psycopg.errors import DiskFull
from sqlalchemy import text

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue.advisory_registry import VersionUse, version_locks
from app.catalogue.database.sessions import Database
from app.catalogue.storage.factory import open_storage
from app.catalogue.storage.local import LocalStorage, content_hash
from app.catalogue.vectors import hole_punching
from app.errors import LookalikeError
from app.maintenance import restore as restoring
from app.maintenance.consistency_check import ConsistencyCheck
from app.maintenance.restore import RestoreResult, restore
from app.settings import Settings
from tests.catalogue.test_backup import add, check_all, elsewhere, save
from tests.crash.ledger import numbered_image
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder

__all__ = ["elsewhere"]

COUNT = 12
DIES = """
import os, signal, sys
from contextlib import closing
from pathlib import Path
from app.catalogue.database.sessions import Database
from app.catalogue.storage.factory import open_storage
from app.maintenance.restore import restore
url, data, source, when = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if when == "syncing":
    os.sync = die
with closing(Database(url)) as database:
    restore(database, open_storage(None, data), data, source, die if when == "copying" else lambda *_: None)
"""


@pytest.fixture
def source(service: Service, tmp_path: Path) -> Path:
    """A backup of a dozen images."""
    add(service, *range(COUNT))
    save(service, tmp_path / "backup")
    return tmp_path / "backup"


def no_progress(*_: int) -> None:
    """Progress callback that does nothing."""


def restored(elsewhere: Settings, source: Path, *, allow_missing: bool = False) -> RestoreResult:
    with closing(Database(str(elsewhere.database_url))) as database:
        pictures = open_storage(elsewhere.storage_url, elsewhere.data_dir)
        return restore(database, pictures, elsewhere.data_dir, source, no_progress, allow_missing=allow_missing)


def refusal_message(elsewhere: Settings, source: Path) -> str:
    """Return the error message of a refused restore; check that it changed nothing."""
    with pytest.raises(LookalikeError) as refused:
        restored(elsewhere, source)
    require_empty(elsewhere)
    return str(refused.value)


def require_empty(elsewhere: Settings) -> None:
    with closing(Database(str(elsewhere.database_url))) as database, database.read_session() as session:
        assert session.scalar(text("SELECT count(*) FROM images")) == 0
        assert session.scalar(text("SELECT count(*) FROM catalogue")) == 1
    assert [path for path in elsewhere.data_dir.rglob("*") if path.is_file() and path.parent.name != "under-way"] == []


def found_by_check(elsewhere: Settings, *, repair: bool = False) -> list[tuple[str, str]]:
    with (
        closing(Database(str(elsewhere.database_url))) as database,
        build_service_with_encoder(elsewhere, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service,
    ):
        check = ConsistencyCheck(database, service.storage, service.index, service.embedding_writer)
        found = check.run(0, no_progress)
        if repair:
            assert check.repair(found) == []
            return [(one.kind, one.name) for one in check.run(0, no_progress)]
        return [(one.kind, one.name) for one in found]


def snapshot_folder(source: Path) -> Path:
    return source / str(json.loads((source / "manifest.json").read_text())["folder"])


def change_manifest(source: Path, **changes: Any) -> None:
    path = source / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def original(source: Path, number: int) -> Path:
    return LocalStorage(source / "pictures").original(content_hash(numbered_image(number)))


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def test_folder_without_a_backup_is_refused(source: Path, elsewhere: Settings, tmp_path: Path) -> None:
    assert "nowhere is not a folder" in refusal_message(elsewhere, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no manifest.json" in refusal_message(elsewhere, tmp_path / "empty")
    assert f"Use its parent folder: {source}." in refusal_message(elsewhere, snapshot_folder(source))
    (source / "manifest.json").unlink()
    assert "ended before manifest.json was written" in refusal_message(elsewhere, source)


@pytest.mark.parametrize("written", ["", "{", "[]", "null", '"text"', "[" * 100_000, "\x00", "{}"])
def test_unreadable_manifest_is_reported_as_damaged(source: Path, elsewhere: Settings, written: str) -> None:
    (source / "manifest.json").write_text(written)
    assert f"{source / 'manifest.json'} is damaged" in refusal_message(elsewhere, source)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("folder", [7, "../backup", "..", "", "a/b", None]),
        ("columns", [[], {}, {"images": []}, {"images; DROP TABLE": ["id"]}, {"images": [1]}, {"../x": ["id"]}]),
        ("digests", [[], {"images": 7}, {"images": "abc"}]),
        ("pictures", ["12", -1, True, 1.5]),
        ("revision", [None, 7]),
    ],
)
def test_invalid_manifest_values_are_named(source: Path, elsewhere: Settings, name: str, values: list[object]) -> None:
    for value in values:
        change_manifest(source, **{name: value})
        sentence = refusal_message(elsewhere, source)
        assert f"{name!r} is missing or invalid" in sentence, (value, sentence)


def test_missing_backup_folder_is_named(source: Path, elsewhere: Settings) -> None:
    change_manifest(source, folder="as-of-another")
    assert "as-of-another/tables/feature_sets is missing" in refusal_message(elsewhere, source)


def test_unknown_column_is_reported(source: Path, elsewhere: Settings) -> None:
    columns = json.loads((source / "manifest.json").read_text())["columns"]
    change_manifest(source, columns=columns | {"images": ["of_the_future"]})
    assert "tables/images is damaged" in refusal_message(elsewhere, source)


def test_missing_or_truncated_table_is_named(source: Path, elsewhere: Settings) -> None:
    whole = snapshot_folder(source) / "tables" / "images"
    data = whole.read_bytes()
    whole.unlink()
    assert f"{whole} is missing" in refusal_message(elsewhere, source)
    for size in (0, 10, len(data) // 2, len(data) - 2, len(data) - 1):
        whole.write_bytes(data[:size])
        assert f"{whole} is damaged" in refusal_message(elsewhere, source)
    whole.write_bytes(data)
    restored(elsewhere, source)
    check_all(elsewhere, range(COUNT))


def test_changed_byte_in_a_table_is_detected(source: Path, elsewhere: Settings) -> None:
    table = snapshot_folder(source) / "tables" / "encodings"
    flip(table, table.stat().st_size // 2)
    assert f"{table} is damaged: its checksum differs from the manifest" in refusal_message(elsewhere, source)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_damage_in_a_backup_without_checksums_is_reported_or_restores(source: Path, elsewhere: Settings) -> None:
    change_manifest(source, digests={})
    rng, refused = random.Random(11), 0
    for name in ("images", "encodings", "index_versions", "catalogue", "deletions"):
        table = snapshot_folder(source) / "tables" / name
        data = table.read_bytes()
        for _ in range(8):
            flip(table, rng.randrange(len(data)))
            if rng.random() < 0.3:
                cut(table, rng.randrange(len(data)))
            try:
                restored(elsewhere, source, allow_missing=True)
            except LookalikeError:
                refused += 1
                require_empty(elsewhere)
            else:
                empty(elsewhere)
            table.write_bytes(data)
    assert refused > 10
    restored(elsewhere, source)
    check_all(elsewhere, range(COUNT))


def empty(elsewhere: Settings) -> None:
    """Empty the catalogue."""
    with closing(Database(str(elsewhere.database_url))) as database, database.connection_transaction() as connection:
        connection.execute(text("TRUNCATE images, encodings, deletions, api_keys, catalogue, index_versions CASCADE"))
        connection.execute(text("INSERT INTO catalogue (id) VALUES (1)"))
    shutil.rmtree(elsewhere.data_dir)


def test_too_few_rows_are_refused(source: Path, elsewhere: Settings) -> None:
    change_manifest(source, pictures=217)
    assert f"it has {COUNT} rows, but the manifest says 217" in refusal_message(elsewhere, source)


def test_missing_originals_are_named_and_can_be_skipped(source: Path, elsewhere: Settings) -> None:
    original(source, 3).unlink()
    cut(original(source, 4), 10)
    sentence = refusal_message(elsewhere, source)
    assert f"2 of {COUNT} images have no intact original" in sentence
    assert all(f"key-{one} ({original(source, one).name})" in sentence for one in (3, 4))
    assert "--allow-missing" in sentence
    flip(original(source, 5), 60)
    found = restored(elsewhere, source, allow_missing=True)
    assert (found.pictures, found.missing.pictures) == (COUNT, 3)
    assert [name.split()[0] for name in found.missing.names] == ["key-3", "key-4", "key-5"]
    assert found_by_check(elsewhere) == [("original", f"key-{one}") for one in (3, 4, 5)]


def test_damaged_originals_abort_the_restore_and_leave_no_files(source: Path, elsewhere: Settings) -> None:
    for one in (2, 7):
        flip(original(source, one), 60)
    sentence = refusal_message(elsewhere, source)
    assert f"2 of {COUNT} images have no intact original" in sentence
    for one in (2, 7):
        flip(original(source, one), 60)
    assert restored(elsewhere, source).missing.pictures == 0
    check_all(elsewhere, range(COUNT))


def test_unused_originals_of_an_earlier_backup_are_not_restored(
    service: Service, source: Path, elsewhere: Settings
) -> None:
    service.ingest.delete(1)
    save(service, source)
    assert original(source, 0).exists()
    restored(elsewhere, source)
    assert not original(elsewhere.data_dir, 0).exists()
    assert found_by_check(elsewhere) == []


def remove(path: Path) -> None:
    path.unlink()


def shorten(path: Path) -> None:
    cut(path, 5 * FAKE_NETWORK.feature_dim * 4)


def flip_one(path: Path) -> None:
    flip(path, 3 * FAKE_NETWORK.feature_dim * 4)


@pytest.mark.skipif(
    os.environ.get("LOOKALIKE_INDEX_BACKEND") == "milvus", reason="damages vector files, and with Milvus there are none"
)
@pytest.mark.parametrize(
    ("damage", "lost"), [(remove, COUNT), (shorten, COUNT - 5), (flip_one, 1)], ids=["missing", "cut off", "changed"]
)
def test_missing_vectors_are_named_and_can_be_repaired(
    source: Path, elsewhere: Settings, damage: Callable[[Path], None], lost: int
) -> None:
    (vectors,) = (snapshot_folder(source) / "vectors").iterdir()
    damage(vectors)
    message = refusal_message(elsewhere, source)
    assert f"{vectors} is " in message
    assert "key-" in message
    found = restored(elsewhere, source, allow_missing=True)
    assert (found.pictures, found.missing.vectors, found.missing.pictures) == (COUNT, lost, 0)
    assert len(found_by_check(elsewhere)) == lost
    assert found_by_check(elsewhere, repair=True) == []
    check_all(elsewhere, range(COUNT))


def test_unknown_vector_dtype_is_reported(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    add(service, 1)
    with service.database.connection_transaction() as connection:
        connection.execute(text("UPDATE feature_sets SET vector_dtype = 'f8'"))
    save(service, tmp_path / "backup")
    assert "feature_sets is damaged" in refusal_message(elsewhere, tmp_path / "backup")


def test_a_checkpoint_that_is_not_here_is_named(source: Path, elsewhere: Settings) -> None:
    (sentence,) = restored(elsewhere, source).missing_networks
    assert f"({FAKE_NETWORK.fingerprint}) is missing" in sentence
    assert "before you start the service" in sentence


def test_second_concurrent_restore_is_refused(source: Path, elsewhere: Settings) -> None:
    begun, go_on, results = threading.Event(), threading.Event(), list[RestoreResult]()

    def wait(*_: int) -> None:
        begun.set()
        assert go_on.wait(60)

    def first() -> None:
        with closing(Database(str(elsewhere.database_url))) as database:
            pictures = open_storage(None, elsewhere.data_dir)
            results.append(restore(database, pictures, elsewhere.data_dir, source, wait))

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(60)
    with pytest.raises(LookalikeError, match="Another restore into this catalogue is running"):
        restored(elsewhere, source)
    go_on.set()
    thread.join()
    assert [found.pictures for found in results] == [COUNT]
    check_all(elsewhere, range(COUNT))


def test_restore_into_a_running_service_is_refused(source: Path, elsewhere: Settings) -> None:
    with closing(Database(str(elsewhere.database_url))) as database, version_locks(database) as present:
        present.hold_only(VersionUse.OPEN, {1})
        assert "A service is running on this catalogue" in refusal_message(elsewhere, source)
    restored(elsewhere, source)


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def database_full(*_: object) -> None:
    raise DiskFull("could not extend file: No space left on device")


@pytest.mark.parametrize(
    ("where", "fails"),
    [
        ((hole_punching, "copy_sparse"), no_space),
        ((Path, "write_bytes"), no_space),
        ((restoring, "_sync"), no_space),
        (("psycopg.Copy", "write"), database_full),
    ],
    ids=["vectors", "originals", "sync", "database"],
)
def test_restore_on_a_full_disk_leaves_no_files_and_can_be_repeated(
    source: Path,
    elsewhere: Settings,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[Any, str],
    fails: Callable[..., None],
) -> None:
    with monkeypatch.context() as patched:
        if isinstance(where[0], str):
            patched.setattr(f"{where[0]}.{where[1]}", fails)
        else:
            patched.setattr(*where, fails)
        with pytest.raises(LookalikeError, match=r"(?i)full|no space"):
            restored(elsewhere, source)
    with closing(Database(str(elsewhere.database_url))) as database, database.read_session() as session:
        assert session.scalar(text("SELECT count(*) FROM images")) == 0
    assert [path for path in elsewhere.data_dir.rglob("originals/??/*") if path.is_file()] == []
    restored(elsewhere, source)
    check_all(elsewhere, range(COUNT))


def test_unreadable_backup_reports_how_to_fix_permissions(
    source: Path, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", refuse)
        with pytest.raises(LookalikeError, match=r"manifest\.json: Permission denied\. .*chown"):
            restored(elsewhere, source)


@pytest.mark.parametrize("when", ["copying", "syncing"])
def test_killed_restore_is_cleaned_up_and_can_be_repeated(source: Path, elsewhere: Settings, when: str) -> None:
    url = str(elsewhere.database_url)
    process = subprocess.Popen([sys.executable, "-c", DIES, url, str(elsewhere.data_dir), str(source), when])
    assert process.wait() == -signal.SIGKILL
    assert [path for path in elsewhere.data_dir.rglob("originals/??/*") if path.is_file()] != []
    assert found_by_check(elsewhere) == [], "the start cleans up"
    assert [path for path in (elsewhere.data_dir / "pictures").rglob("*") if path.is_file()] == []
    assert [path for path in (elsewhere.data_dir / "vectors").iterdir() if path.name.startswith(".")] == []
    assert restored(elsewhere, source).pictures == COUNT
    check_all(elsewhere, range(COUNT))
