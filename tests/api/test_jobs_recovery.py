"""Jobs add each entry once, despite restarts, kills, full disks, other processes and exceptions."""

import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.catalogue.database.sessions import Database
from app.errors import UnavailableError
from app.ingest.jobs import runner as job_runner
from app.ingest.jobs.rows import job_lock
from app.ingest.pipeline import IngestPipeline
from app.ingest.uploads import AddResult
from app.settings import Settings
from tests.api.job_helpers import (
    IngestGate,
    counts,
    job,
    keys,
    open_client,
    sample_images,
    send_archive,
    wait_for_job,
    wait_until_ended,
)
from tests.crash.ledger import numbered_image, serving
from tests.ingest.archives import tarred, zipped


def test_entries_before_the_damage_of_an_archive_are_added(client: TestClient) -> None:
    whole = tarred(sample_images(100))
    now = wait_until_ended(client, send_archive(client, whole[: len(whole) // 2]))
    assert now["state"] == "failed"
    assert "damaged" in now["error"]
    assert 30 < now["created"] < 60
    assert len(keys(client)) == now["created"]


def test_restart_continues_a_job(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = IngestGate(monkeypatch)
    with open_client(settings) as client:
        job_id = send_archive(client, zipped(sample_images(600)))
        wait_for_job(client, job_id, lambda _: gate.calls > 0)
        # At shutdown, images in progress are finished and the rest is left for the next start.
        threading.Timer(0.5, gate.open.set).start()
    with open_client(settings) as client:
        now = wait_until_ended(client, job_id)
    assert counts(now) == (600, 600, 600, 0, 0, 0), "nothing was added twice"


def test_only_the_process_with_the_advisory_lock_runs_jobs(
    client: TestClient, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "_POLL_S", 0.05)
    with job_lock(database) as mine, job_lock(database) as other:
        assert (mine, other) == (True, False)
        job_id = send_archive(client, zipped(sample_images(10)))
        time.sleep(0.5)
        assert job(client, job_id)["processed"] == 0
        assert client.post("/index", files={"images": numbered_image(99)}).status_code == 201
        assert client.post("/search", files={"image": numbered_image(99)}).status_code == 200
    assert wait_until_ended(client, job_id)["state"] == "done"


def test_two_processes_never_run_the_same_job(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runner, "_POLL_S", 0.01)
    with open_client(settings) as one, open_client(settings) as other:
        ids = [send_archive(client, zipped(sample_images(130))) for client in (one, other, one)]
        found = [
            counts(wait_until_ended(client, job_id)) for client, job_id in zip((other, one, other), ids, strict=True)
        ]
    assert found == [(130, 130, 130, 0, 0, 0), (130, 130, 0, 0, 130, 0), (130, 130, 0, 0, 130, 0)]


def test_job_waits_while_the_service_is_unavailable_and_reports_why(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "_POLL_S", 0.05)
    gate = IngestGate(monkeypatch)
    gate.open.set()
    with monkeypatch.context() as patched:
        patched.setattr(IngestPipeline, "add", full)
        job_id = send_archive(client, zipped(sample_images(10)))
        now = wait_for_job(client, job_id, lambda now: now["error"] is not None)
        assert (now["state"], now["error"]) == ("running", "The disk that holds the pictures is full.")
    assert (wait_until_ended(client, job_id)["state"], job(client, job_id)["error"]) == ("done", None)


def full(*_: object) -> list[AddResult]:
    raise UnavailableError("The disk that holds the pictures is full.", retry_after=1)


def test_unexpected_exception_fails_its_job_only(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(IngestPipeline, "add", lambda *_: 1 / 0)
        now = wait_until_ended(client, send_archive(client, zipped(sample_images(1))))
    assert (now["state"], now["error"]) == ("failed", "Internal error. See the server's log.")
    assert wait_until_ended(client, send_archive(client, zipped(sample_images(1))))["state"] == "done"


def test_runner_survives_an_unexpected_exception(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runner, "_RETRY_S", 0.05)
    tried = threading.Event()

    def fail(*_: object) -> None:
        tried.set()
        raise OSError("unexpected")

    with monkeypatch.context() as patched:
        patched.setattr("app.ingest.jobs.rows.end", fail)
        job_id = send_archive(client, zipped(sample_images(3)))
        assert tried.wait(30)
    assert counts(wait_until_ended(client, job_id))[1] == 3


def has_gone_on(since: int, now: Mapping[str, Any]) -> bool:
    return bool(now["processed"] > since or now["state"] == "done")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_job_continues_after_sigkill_without_losing_images(tmp_path: Path) -> None:
    data_dir, archive = tmp_path / "data", zipped(sample_images(1500))
    with serving(data_dir) as (client, process, _):
        job_id = send_archive(client, archive)
        wait_for_job(client, job_id, lambda now: now["processed"] > 100)
        process.kill()
    for _ in range(2):
        with serving(data_dir) as (client, process, _):
            before = job(client, job_id)["processed"]
            assert before > 0
            wait_for_job(client, job_id, partial(has_gone_on, before))
            process.kill()
    with serving(data_dir) as (client, process, _):
        now = wait_until_ended(client, job_id)
        assert now["state"] == "done"
        assert (now["total"], now["processed"], now["created"] + now["unchanged"], now["rejected"]) == (
            1500,
            1500,
            1500,
            0,
        )
        assert client.get("/stats").json()["images"] == 1500
        process.terminate()
        process.wait(60)
