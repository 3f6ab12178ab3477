"""Orphan cleanup: files of interrupted operations are deleted at the next start, and no others."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.bootstrap import Service
from app.catalogue import changes
from app.catalogue.database.locks import Lock, exclusive_lock
from app.catalogue.database.sessions import Database
from app.catalogue.storage.ledger import Ledger
from app.catalogue.storage.local import LocalStorage, content_hash
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.common import private_modes
from app.errors import UnavailableError
from app.ingest.uploads import Upload
from tests.crash.test_power import opened
from tests.images import encoded, gradient

PICTURE = encoded(gradient(40, 30))
SHA = content_hash(PICTURE)
WRITES_A_NOTE_AND_DIES = """
import os, signal, sys
from pathlib import Path
from app.catalogue.storage.ledger import Ledger
from app.catalogue.database.locks import Lock, exclusive_lock
with Ledger(Path(sys.argv[1])).note(sys.argv[2:]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def folder_of(service: Service) -> Path:
    return service.settings.data_dir / "under-way"


def files_of(service: Service) -> set[str]:
    """Names of all files in storage."""
    return {path.name for path in (service.settings.data_dir / "pictures").rglob("*") if path.is_file()}


def start_worker(service: Service) -> None:
    """Start another worker."""
    with opened(service.settings, service.database):
        pass


def killed(service: Service, hashes: Sequence[str]) -> int:
    """Kill a process that holds a note of originals; return its PID."""
    process = subprocess.Popen([sys.executable, "-c", WRITES_A_NOTE_AND_DIES, str(folder_of(service)), *hashes])
    assert process.wait() == -signal.SIGKILL
    return process.pid


def test_successful_operation_leaves_no_note(service: Service) -> None:
    (added,) = service.ingest.add([Upload(PICTURE, "one", {})])
    assert added.id is not None
    service.ingest.add([Upload(encoded(gradient(41, 30)), "one", {})])
    assert SHA not in files_of(service)
    service.ingest.delete(added.id)
    assert files_of(service) == set()
    assert list(folder_of(service).iterdir()) == []


def test_original_of_a_failed_commit_is_deleted_at_the_next_start(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_unavailable(*_: object, **__: object) -> None:
        raise UnavailableError("The database cannot be reached.")

    with monkeypatch.context() as patched:
        patched.setattr(changes, "put_images", raise_unavailable)
        with pytest.raises(UnavailableError):
            service.ingest.add([Upload(PICTURE, "one", {})])
    assert SHA in files_of(service)
    start_worker(service)
    assert files_of(service) == set()
    assert list(folder_of(service).iterdir()) == []


def test_failed_deletion_is_retried_at_the_next_start(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (added,) = service.ingest.add([Upload(PICTURE, "one", {})])
    assert added.id is not None

    def fail(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "remove", fail)
        service.ingest.delete(added.id)
    assert SHA in files_of(service)
    start_worker(service)
    assert files_of(service) == set()


def test_deletion_during_a_backup_is_done_at_the_next_start(service: Service) -> None:
    (added,) = service.ingest.add([Upload(PICTURE, "one", {})])
    assert added.id is not None
    with exclusive_lock(service.database, Lock.BACKUP):
        service.ingest.delete(added.id)
        start_worker(service)
        assert SHA in files_of(service)
    start_worker(service)
    assert files_of(service) == set()


def test_files_of_a_killed_process_are_cleaned_up(service: Service) -> None:
    files = LocalStorage(service.settings.data_dir / "pictures")
    files.store({SHA: PICTURE})
    files.store_thumbnails({SHA: b"small"})
    process = killed(service, [SHA])
    files.original(SHA).with_name(f".{SHA}.{process}.00").write_bytes(PICTURE[:10])
    files.thumbnail(SHA).with_name(f".{SHA}.jpg.{process}.00").write_bytes(b"sm")
    start_worker(service)
    assert files_of(service) == set()


def test_used_originals_are_kept(service: Service) -> None:
    service.ingest.add([Upload(PICTURE, "one", {})])
    killed(service, [SHA])
    start_worker(service)
    assert SHA in files_of(service)
    assert list(folder_of(service).iterdir()) == []


def test_originals_of_a_running_operation_are_kept(service: Service) -> None:
    files = LocalStorage(service.settings.data_dir / "pictures")
    with Ledger(folder_of(service)).note([SHA]):
        files.store({SHA: PICTURE})
        start_worker(service)
        assert files_of(service) == {SHA}
    assert list(folder_of(service).iterdir()) == []


def test_operation_works_without_a_ledger_folder(service: Service) -> None:
    folder_of(service).write_bytes(b"no folder")
    service.ingest.add([Upload(PICTURE, "one", {})])
    assert SHA in files_of(service)


def test_operation_works_without_space_for_a_note(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_modes, "create_file", lambda _: os.open("/dev/full", os.O_WRONLY))
    service.ingest.add([Upload(PICTURE, "one", {})])
    assert SHA in files_of(service)


def test_notes_are_kept_while_the_database_is_unavailable(service: Service) -> None:
    killed(service, [SHA])
    nowhere = Database("postgresql+psycopg://user@127.0.0.1:1/nothing")
    files = LocalStorage(service.settings.data_dir / "pictures")
    OrphanCleanup(Ledger(folder_of(service)), nowhere, files).run()
    nowhere.close()
    assert len(list(folder_of(service).iterdir())) == 1
