"""Code files: the file and the changes since give the codes of the database, or the file is not used."""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue import index_versions
from app.catalogue.code_files import registry, writer
from app.catalogue.code_files.check import CodeFileCheck
from app.catalogue.code_files.store import FOLDER, CodeFileStore
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CodeFile
from app.catalogue.index_sync import IndexSync
from app.catalogue.selection import Selection
from app.catalogue.storage.factory import open_storage
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.trash import TrashSelection
from app.errors import UnavailableError
from app.maintenance.restore import restore
from app.maintenance.tools import consistency_check
from app.search.local import code_file
from app.search.local.coarse import CodeTable
from app.search.local.index import LocalIndex
from app.settings import Settings
from tests.catalogue.test_backup import elsewhere, save
from tests.catalogue.test_index_sync import add, ids, opened, pair
from tests.fakes import BITS, FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.vector_files import vector_file

__all__ = ["elsewhere", "pair"]

STEPS = ("writing", "syncing", "registering", "registered", "renaming", "renamed")
# Writes a code file of all codes in the database, and is killed at a step.
DIES = """
import os, signal, sys
from contextlib import closing
from pathlib import Path
from app.catalogue.code_files import store
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CodeFile
from app.catalogue.index_sync import IndexSync
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.search.local.index import LocalIndex

url, folder, version, bits, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def after(work):
    return lambda *arguments: (work(*arguments), die())
class File:
    def __init__(self, file):
        self.file, self.left = file, 3
    def write(self, data):
        self.left -= 1
        self.file.write(data[: len(data) // 2] if not self.left else data)
        self.file.flush()
        self.left or die()
write = store.code_file.write
if step == "writing":
    store.code_file.write = lambda file, *arguments: write(File(file), *arguments)
if step == "syncing":
    FsyncGuard.sync = die
if step == "registering":
    store.register = die
if step == "registered":
    Path.replace = die
if step == "renaming":
    Path.replace = after(Path.replace)
if step == "renamed":
    FsyncGuard.sync_path = after(FsyncGuard.sync_path)
class Vectors:
    pass
with closing(Database(url)) as database:
    index = LocalIndex(bits, Vectors())
    sync = IndexSync(database, index, version, bits)
    sync.synced_index()
    store.CodeFileStore(folder, version, index.table).save(database, sync.at_one_seq)
"""


@pytest.fixture(autouse=True)
def local_only(settings: Settings) -> None:
    if settings.index_backend == "milvus":
        pytest.skip("codes are in Milvus")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that keep deleted images for a day."""
    return settings.model_copy(update={"trash_days": 1.0})


def table_of(service: Service) -> CodeTable:
    assert isinstance(service.index, LocalIndex)
    return service.index.table


def store_of(service: Service, table: CodeTable | None = None, disk: FsyncGuard | None = None) -> CodeFileStore:
    folder, version = service.settings.data_dir / FOLDER, service.embedding_writer.index_version_id
    return CodeFileStore(folder, version, table_of(service) if table is None else table, disk)


def write_file(service: Service) -> Path:
    """Write the code file of a service's table, as of its last sync; return its path."""
    store = store_of(service)
    assert store.save(service.database, service.index_sync.at_one_seq)
    return store.path


def loaded(service: Service) -> tuple[int, LocalIndex]:
    """Start another index from the file; return the `seq` that was read, -1 for none, and the synced index."""
    index, seqs = LocalIndex(BITS, vector_file(service)), list[int]()

    def load(session: Session) -> int:
        seqs.append(store_of(service, index.table).load(session))
        return seqs[-1]

    IndexSync(service.database, index, service.embedding_writer.index_version_id, BITS, load=load).synced_index()
    return seqs[0], index


def require_same_as_database(service: Service, *, used: bool) -> None:
    """A start gives the codes that are in the database, from the file if `used`."""
    seq, index = loaded(service)
    assert (seq >= 0) == used
    fresh = LocalIndex(BITS, vector_file(service))
    IndexSync(service.database, fresh, service.embedding_writer.index_version_id, BITS).synced_index()
    for name in ("ids", "codes", "slots", "checksums"):
        np.testing.assert_array_equal(getattr(index.table.entries(), name), getattr(fresh.table.entries(), name))
    check = CodeFileCheck(service.database, service.settings.data_dir, service.embedding_writer.index_version_id, BITS)
    assert not check.is_wrong()


@pytest.mark.parametrize("seed", range(4))
def test_file_and_changes_since_give_the_codes_of_the_database(pair: tuple[Service, Service], seed: int) -> None:
    rng, deletions, used = random.Random(seed), list[int](), False
    for number in range(60):
        service = rng.choice(pair)
        present = ids(service) if rng.random() < 0.7 else []
        match rng.choice(("add", "add", "replace", "delete", "restore", "update", "file")):
            case "add":
                add(service, f"key {number}", number)
            case "replace" if present:
                add(service, f"key {rng.randrange(number)}", 1000 + number)
            case "delete" if present:
                chosen = rng.sample(present, min(len(present), rng.randint(1, 4)))
                deleted = service.trash.delete(Selection(ids=chosen), len(chosen))
                assert deleted.deletion_id is not None
                deletions.append(deleted.deletion_id)
            case "restore" if deletions:
                which = TrashSelection(1, deletion_id=deletions.pop(rng.randrange(len(deletions))))
                service.trash.restore(which, skip_used_keys=True)
            case "update" if present:
                service.ingest.update_metadata(rng.choice(present), {"label": f"label {number}"})
            case "file" if service.index_sync.seq >= 0:
                write_file(service)
                used = True
        if rng.random() < 0.4:
            require_same_as_database(rng.choice(pair), used=used)
    require_same_as_database(rng.choice(pair), used=True)


@pytest.mark.parametrize("step", STEPS)
def test_kill_while_writing_leaves_a_usable_state(service: Service, step: str) -> None:
    for number in range(8):
        add(service, f"key {number}", number)
    ids(service)
    write_file(service)
    before = loaded(service)[0]
    service.ingest.delete(add(service, "brief", 20))
    add(service, "new", 30)
    ids(service)
    version = str(service.embedding_writer.index_version_id)
    folder = service.settings.data_dir / FOLDER
    arguments = [str(service.settings.database_url), str(folder), version, str(BITS), step]
    died = subprocess.run([sys.executable, "-c", DIES, *arguments], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    # Until the rename the old file is there, and afterwards the new one: each of them is registered.
    require_same_as_database(service, used=True)
    assert (loaded(service)[0] > before) == (step in ("renaming", "renamed"))
    add(service, "last", 31)
    ids(service)
    write_file(service)
    assert sorted(path.name for path in folder.iterdir()) == ["codes.bin", "lock"]
    require_same_as_database(service, used=True)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def newer_format(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8] += 1
    path.write_bytes(bytes(data))


def other_file(path: Path) -> None:
    path.write_bytes(b"something else, and long enough to be a header" * 10)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, flip, empty, newer_format, other_file, folder_instead])
def test_damaged_file_is_logged_and_not_used(
    service: Service, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    add(service, "one", 1)
    ids(service)
    path = write_file(service)
    damage(path)
    with caplog.at_level(logging.WARNING):
        seq, index = loaded(service)
    assert (seq, len(index)) == (-1, 1)
    assert f"Code file {path} not used: " in caplog.text
    (finding,) = consistency_check(service).run(0, lambda *_: None)
    assert (finding.kind, finding.name) == ("code file", str(path))


def test_damaged_file_is_repaired(service: Service) -> None:
    add(service, "one", 1)
    ids(service)
    path = write_file(service)
    flip(path)
    check = consistency_check(service)
    assert check.repair(check.run(0, lambda *_: None)) == []
    assert not path.exists()
    assert check.run(0, lambda *_: None) == []


def test_file_that_differs_from_the_database_is_found(service: Service) -> None:
    """A change of the tables that bypasses the service has no `seq`."""
    for number in range(3):
        add(service, f"key {number}", number)
    ids(service)
    path = write_file(service)
    check = CodeFileCheck(service.database, service.settings.data_dir, service.embedding_writer.index_version_id, BITS)
    assert not check.is_wrong()
    with service.database.transaction() as session:
        session.execute(text("UPDATE encodings SET code = set_byte(code, 0, get_byte(code, 0) # 1) WHERE image_id = 2"))
    assert check.is_wrong()
    check.delete()
    assert not path.exists()


def test_missing_file_is_no_finding(service: Service) -> None:
    add(service, "one", 1)
    assert consistency_check(service).run(0, lambda *_: None) == []
    require_same_as_database(service, used=False)


def test_file_of_another_catalogue_is_not_used(service: Service, elsewhere: Settings) -> None:
    add(service, "one", 1)
    ids(service)
    path = write_file(service)
    with ExitStack() as stack:
        other = opened(elsewhere, stack)
        for number in range(5):
            add(other, f"key {number}", 50 + number)
        copy = elsewhere.data_dir / FOLDER / path.name
        copy.parent.mkdir()
        copy.write_bytes(path.read_bytes())
        require_same_as_database(other, used=False)


def test_file_of_a_later_state_is_not_used_after_a_restore(
    service: Service, elsewhere: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A restored catalogue counts on from the backup's `seq`, with other changes."""
    for number in range(4):
        add(service, f"key {number}", number)
    ids(service)
    early = write_file(service).read_bytes()
    save(service, tmp_path / "backup")
    assert not list((tmp_path / "backup").rglob("*codes.bin"))
    add(service, "later", 10)
    ids(service)
    late = write_file(service).read_bytes()
    assert late != early
    with closing(Database(str(elsewhere.database_url))) as database:
        pictures = open_storage(elsewhere.storage_url, elsewhere.data_dir)
        restore(database, pictures, elsewhere.data_dir, tmp_path / "backup", lambda *_: None)
    with ExitStack() as stack:
        other = opened(elsewhere, stack)
        for number in range(4):
            add(other, f"other {number}", 60 + number)
        for data in (early, late):
            (elsewhere.data_dir / FOLDER).mkdir(exist_ok=True)
            (elsewhere.data_dir / FOLDER / "codes.bin").write_bytes(data)
            with caplog.at_level(logging.INFO):
                require_same_as_database(other, used=False)
        assert caplog.text.count("it is of another catalogue or of an earlier history") == 2
        ids(other)
        write_file(other)
        require_same_as_database(other, used=True)


def test_restore_forgets_the_files_of_an_emptied_catalogue(
    service: Service, elsewhere: Settings, tmp_path: Path
) -> None:
    add(service, "one", 1)
    save(service, tmp_path / "backup")
    with ExitStack() as stack:
        other = opened(elsewhere.model_copy(update={"trash_days": 0}), stack)
        gone = add(other, "gone", 2)
        ids(other)
        write_file(other)
        other.ingest.delete(gone)
    with closing(Database(str(elsewhere.database_url))) as database:
        pictures = open_storage(elsewhere.storage_url, elsewhere.data_dir)
        restore(database, pictures, elsewhere.data_dir, tmp_path / "backup", lambda *_: None)
        with database.read_session() as session:
            assert session.scalar(select(func.count()).select_from(CodeFile)) == 0


def test_switch_forgets_the_files_of_both_index_versions(service: Service) -> None:
    """While a version is not active, its codes may be deleted without an entry in `deletions`."""
    for number in range(4):
        add(service, f"key {number}", number)
    ids(service)
    write_file(service)
    own = service.embedding_writer.index_version_id
    with service.database.transaction() as session:
        other = index_versions.find_or_create(session, FAKE_NETWORK, FAKE_CHECKPOINT, "f16").id
        index_versions.activate(session, other)
    with service.database.transaction() as session:
        # Another process, which has not noticed the switch, cannot register a file.
        assert not registry.register(session, "0" * 32, own, 1)
        session.execute(text("DELETE FROM encodings WHERE image_id = 2"))
        index_versions.activate(session, own)
    seq, index = loaded(service)
    assert seq == -1
    assert index.table.entries().ids.tolist() == [1, 3, 4]


def test_file_of_the_future_cannot_be_registered(service: Service) -> None:
    add(service, "one", 1)
    with service.database.transaction() as session:
        assert not registry.register(session, "0" * 32, service.embedding_writer.index_version_id, 1_000_000)


def test_only_the_latest_files_stay_registered(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_KEPT", 3)
    add(service, "one", 1)
    for number in range(8):
        with service.database.transaction() as session:
            assert registry.register(session, f"{number:032x}", service.embedding_writer.index_version_id, 1)
    with service.database.read_session() as session:
        kept = sorted(one.int for one in session.scalars(select(CodeFile.id)))
    assert kept == [5, 6, 7]


def test_one_process_writes_and_the_others_keep_its_file(pair: tuple[Service, Service]) -> None:
    one, two = pair
    add(one, "one", 1)
    ids(one)
    ids(two)
    written = write_file(one).read_bytes()
    assert write_file(two).read_bytes() == written
    assert table_of(two).unsaved == 0
    with store_of(one)._locked() as locked:
        assert locked
        add(one, "two", 2)
        ids(two)
        assert not store_of(two).save(two.database, two.index_sync.at_one_seq)
        assert table_of(two).unsaved == 1
    assert write_file(two).read_bytes() != written
    # A process that lags behind does not replace the file of another one.
    latest = write_file(two).read_bytes()
    assert write_file(one).read_bytes() == latest


class FullDisk(FsyncGuard):
    """A disk on which nothing fits."""

    def reserved(self, size: int) -> Iterator[None]:  # type: ignore[override]  # it never returns
        raise UnavailableError(f"The disk is full: {size} bytes")


def test_full_disk_keeps_the_old_file(service: Service) -> None:
    add(service, "one", 1)
    ids(service)
    before = write_file(service).read_bytes()
    add(service, "two", 2)
    ids(service)
    with pytest.raises(UnavailableError):
        store_of(service, disk=FullDisk()).save(service.database, service.index_sync.at_one_seq)
    assert (service.settings.data_dir / FOLDER / "codes.bin").read_bytes() == before
    require_same_as_database(service, used=True)


@pytest.mark.parametrize("number", [0, 1])
def test_failed_write_leaves_the_old_file(service: Service, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    add(service, "one", 1)
    ids(service)
    before = write_file(service).read_bytes()
    add(service, "two", 2)
    ids(service)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if number:
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(code_file, "write", fail)
    with pytest.raises(UnavailableError, match="full"):
        store_of(service).save(service.database, service.index_sync.at_one_seq)
    monkeypatch.undo()
    path = service.settings.data_dir / FOLDER / "codes.bin"
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir()) == ["codes.bin", "lock"]


def test_clean_stop_writes_the_file_and_the_next_start_reads_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "MIN_IMAGES", 5)
    monkeypatch.setattr(writer, "_CHANGED_AT_END", 3)
    with ExitStack() as stack:
        service = opened(settings, stack)
        added = [add(service, f"key {number}", number) for number in range(8)]
        assert ids(service) == added
    with ExitStack() as stack, caplog.at_level(logging.INFO):
        again = opened(settings, stack)
        assert ids(again) == added
        assert "8 codes, as of change" in caplog.text
        assert table_of(again).unsaved == 0
        again.ingest.delete(added[0])
        assert ids(again) == added[1:]
    assert caplog.text.count("written to") == 0, "one change is not worth a new file"


def test_background_thread_writes_the_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MIN_IMAGES", 2)
    monkeypatch.setattr(writer, "_POLL_S", 0.01)
    with ExitStack() as stack:
        service = opened(settings, stack)
        for number in range(5):
            add(service, f"key {number}", number)
        ids(service)
        deadline = time.monotonic() + 60
        while table_of(service).unsaved:
            assert time.monotonic() < deadline, "no file is written"
            time.sleep(0.01)
        require_same_as_database(service, used=True)


def test_database_that_stopped_does_not_fail_the_end_of_a_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MIN_IMAGES", 2)
    monkeypatch.setattr(writer, "_CHANGED_AT_END", 1)
    database = Database(str(settings.database_url))

    def unavailable(*_: object, **__: object) -> None:
        raise UnavailableError("The database is unavailable")

    with (
        closing(database),
        build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service,
    ):
        for number in range(3):
            add(service, f"key {number}", number)
        ids(service)
        monkeypatch.setattr(database, "transaction", unavailable)
    assert not (settings.data_dir / FOLDER / "codes.bin").exists()


def test_index_version_that_is_opened_ahead_reads_no_file(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    add(service, "one", 1)
    ids(service)
    write_file(service)
    caplog.clear()
    with service.database.read_session() as session:
        version = index_versions.get_index_version(session, service.embedding_writer.index_version_id)
    index, load = LocalIndex(BITS, vector_file(service)), store_of(service).load
    index_sync = IndexSync(service.database, index, version.id, BITS, inactive=True, load=load)
    assert len(index_sync.synced_index()) == 1
    assert "codes.bin" not in caplog.text
