"""Cleanup of orphaned archives at every start and at every end of a job."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.bootstrap import Service
from app.catalogue.database.job_tables import Job
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.ingest.jobs import rows as jobs
from app.ingest.jobs.files import JobFiles
from app.settings import Settings
from tests.api.job_helpers import (
    IngestGate,
    open_client,
    remaining_files,
    sample_images,
    send_archive,
    wait_for_job,
    wait_until_ended,
)
from tests.conftest import open_with_fake
from tests.ingest.archives import zipped

ARRIVES_AND_DIES = """
import os, signal, sys
from pathlib import Path
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.ingest.jobs.files import JobFiles
with JobFiles(Path(sys.argv[1]), FsyncGuard(), None, None).begin_upload(None) as upload:
    upload.write(b"half an archive")
    if sys.argv[2] == "kept":
        upload.commit()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def files_of(service: Service) -> JobFiles:
    return JobFiles(service.settings.data_dir / "jobs", FsyncGuard(), service.database, service.orphan_cleanup)


def killed(folder: Path, when_: str) -> None:
    """Kill a process during an upload, or before its job is committed."""
    process = subprocess.Popen([sys.executable, "-c", ARRIVES_AND_DIES, str(folder), when_])
    assert process.wait() == -signal.SIGKILL


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("when_", ["arriving", "kept"])
def test_archive_of_a_killed_upload_is_deleted_at_the_next_start(settings: Settings, when_: str) -> None:
    killed(settings.data_dir / "jobs", when_)
    assert len(remaining_files(settings)) == 1
    with open_client(settings):
        assert remaining_files(settings) == []


def test_archive_of_a_killed_upload_is_deleted_when_a_job_ends(settings: Settings, client: TestClient) -> None:
    killed(settings.data_dir / "jobs", "arriving")
    assert len(remaining_files(settings)) == 1
    wait_until_ended(client, send_archive(client, zipped(sample_images(1))))
    until(lambda: remaining_files(settings) == [])


def test_upload_in_progress_survives_cleanups(settings: Settings, client: TestClient) -> None:
    with open_with_fake(settings) as service, files_of(service).begin_upload(None) as arrival:
        arrival.write(b"half an archive")
        with open_client(settings):
            wait_until_ended(client, send_archive(client, zipped(sample_images(1))))
        until(lambda: remaining_files(settings) == [arrival.path])
        arrival.write(b" and the rest")
        name = arrival.commit()
        files_of(service).delete_orphans()
        assert files_of(service).path(name).read_bytes() == b"half an archive and the rest"
        with service.database.transaction() as session:
            jobs.create_job(session, name, arrival.size)
    with open_with_fake(settings) as service:
        files_of(service).delete_orphans()
        assert [path.name for path in remaining_files(settings)] == [name]


def test_cancelling_a_queued_job_deletes_its_archive(
    settings: Settings, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = IngestGate(monkeypatch)
    first = send_archive(client, zipped(sample_images(200)))
    wait_for_job(client, first, lambda _: gate.calls > 0)
    queued = [send_archive(client, zipped(sample_images(3))) for _ in range(5)]
    assert len(remaining_files(settings)) == 6
    for job_id in queued:
        assert client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    assert len(remaining_files(settings)) == 1, "the first one is running"
    gate.open.set()
    assert wait_until_ended(client, first)["state"] == "done"
    until(lambda: remaining_files(settings) == [])


def test_cancelling_a_running_job_deletes_its_archive(
    settings: Settings, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = IngestGate(monkeypatch)
    job_id = send_archive(client, zipped(sample_images(300)))
    wait_for_job(client, job_id, lambda _: gate.calls > 0)
    assert client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    gate.open.set()
    assert wait_until_ended(client, send_archive(client, zipped(sample_images(3))))["state"] == "done"
    until(lambda: remaining_files(settings) == [])
    assert client.get(f"/jobs/{job_id}").json()["state"] == "cancelled"


def test_concurrent_cleanups_keep_archives_of_accepted_jobs(service: Service) -> None:
    files, ending, errors = files_of(service), threading.Event(), list[BaseException]()

    def clean_up() -> None:
        try:
            while not ending.is_set():
                files_of(service).delete_orphans()
        except BaseException as error:
            errors.append(error)

    cleaning = [threading.Thread(target=clean_up) for _ in range(2)]
    for thread in cleaning:
        thread.start()
    for _ in range(60):
        with files.begin_upload(None) as arrival:
            arrival.write(b"an archive")
            name = arrival.commit()
            with service.database.transaction() as session:
                jobs.create_job(session, name, arrival.size)
    ending.set()
    for thread in cleaning:
        thread.join()
    assert errors == []
    with service.database.read_session() as session:
        accepted = set(session.scalars(select(Job.archive)))
    assert {path.name for path in remaining_files(service.settings)} == accepted
    assert len(accepted) == 60


def test_without_file_locks_only_old_archives_are_deleted(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError("No locks available")

    killed(settings.data_dir / "jobs", "arriving")
    monkeypatch.setattr(fcntl, "flock", unsupported)
    with files_of(service).begin_upload(None) as arrival:
        arrival.write(b"half an archive")
        files_of(service).delete_orphans()
        assert len(remaining_files(settings)) == 2
        for path in remaining_files(settings):
            os.utime(path, (0, 0))
        arrival.write(b", of which more has come just now")
        files_of(service).delete_orphans()
        assert remaining_files(settings) == [arrival.path]
