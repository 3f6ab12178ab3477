"""Hostile archives as jobs: each fails with a reason or can be cancelled, and the next job runs."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.catalogue.database.sessions import Database
from app.errors import UnavailableError
from app.ingest.jobs import rows as jobs
from app.ingest.jobs import runner as job_runner
from app.ingest.pipeline import IngestPipeline
from app.ingest.sources import reader
from app.ingest.uploads import AddResult
from app.settings import Settings
from tests.api.job_helpers import (
    IngestGate,
    counts,
    job,
    keys,
    open_client,
    remaining_files,
    sample_images,
    send_archive,
    wait_for_job,
    wait_until_ended,
)
from tests.crash.ledger import numbered_image, serving
from tests.ingest.archives import Raw, inflating, raw_zip, tarred, write_endless, zipped
from tests.ingest.readers import PLANTED, readers

# Documented limit for cancelling a job and for stopping the service.
ENDS_WITHIN_S = 5


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("endless") / "archive"
    write_endless(path, 35)
    return path.read_bytes()


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PROGRAM", PLANTED)
    monkeypatch.setattr(job_runner, "_AFTER_KILL_S", 0.01)


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def attempts(client: TestClient, job_id: int) -> int:
    return int(job(client, job_id)["attempts"])


def test_cancelled_job_ends_despite_an_endless_archive(client: TestClient, endless: bytes) -> None:
    job_id, following = send_archive(client, endless), send_archive(client, zipped(sample_images(1)))
    until(readers)
    assert client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    until(lambda: not readers(), ENDS_WITHIN_S)
    assert wait_until_ended(client, following)["state"] == "done"


def test_shutdown_does_not_wait_for_an_endless_archive(settings: Settings, endless: bytes) -> None:
    with open_client(settings) as client:
        job_id = send_archive(client, endless)
        until(readers)
        began = time.monotonic()
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert readers() == []
    with open_client(settings) as client:
        assert job(client, job_id)["state"] == "running", "the job continues at the next start"
        client.post(f"/jobs/{job_id}/cancel")


@pytest.mark.slow
def test_shutdown_waits_only_briefly_for_images_in_progress(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = IngestPipeline._decode

    def slowly(*given: Any) -> None:
        time.sleep(0.5)
        decode(*given)

    monkeypatch.setattr(IngestPipeline, "_decode", slowly)
    with open_client(settings) as client:
        job_id = send_archive(client, zipped(sample_images(500)))
        until(readers)
        time.sleep(1)
        began = time.monotonic()
    assert time.monotonic() - began < ENDS_WITHIN_S
    with open_client(settings) as client:
        assert (attempts(client, job_id) <= 1, job(client, job_id)["state"]) == (True, "running")
        client.post(f"/jobs/{job_id}/cancel")


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("harm", ["crash", "bug", "nonsense"])
def test_archive_that_compromises_its_reader_fails_its_job_only(client: TestClient, harm: str) -> None:
    job_id = send_archive(client, tarred({**sample_images(3), f"{harm}.jpg": b"", "later.png": numbered_image(9)}))
    now = wait_until_ended(client, job_id)
    assert (now["state"], now["error"]) == ("failed", "The archive crashed its reader process. See the log.")
    assert (now["created"], now["rejected"]) == (3, 1), "earlier entries are kept"
    assert now["rejections"][0]["reason"] == now["error"]
    assert wait_until_ended(client, send_archive(client, zipped({"next.png": numbered_image(4)})))["state"] == "done"
    assert "later.png" not in keys(client)


@pytest.mark.usefixtures("planted")
def test_job_fails_after_its_reader_is_killed_three_times(client: TestClient, settings: Settings) -> None:
    job_id = send_archive(client, tarred({**sample_images(3), "killed.jpg": b""}))
    following = send_archive(client, zipped({"next.png": numbered_image(4)}))
    now = wait_until_ended(client, job_id)
    assert (now["state"], now["attempts"], now["created"]) == ("failed", jobs.MAX_ATTEMPTS, 3)
    assert "was killed, perhaps because memory ran out. This happened 3 times in a row." in now["error"]
    assert wait_until_ended(client, following)["state"] == "done"
    until(lambda: not remaining_files(settings))


def test_job_continues_after_its_reader_is_killed_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runner, "_AFTER_KILL_S", 0.01)
    gate = IngestGate(monkeypatch)
    job_id = send_archive(client, zipped(sample_images(600)))
    wait_for_job(client, job_id, lambda _: gate.calls > 0)
    (process,) = readers()
    os.kill(process, signal.SIGKILL)
    gate.open.set()
    now = wait_until_ended(client, job_id)
    assert (now["state"], counts(now)) == ("done", (600, 600, 600, 0, 0, 0))


def is_attempt(number: int, now: dict[str, Any]) -> bool:
    return bool(now["attempts"] == number)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_job_that_kills_the_service_three_times_fails_and_the_next_one_runs(tmp_path: Path, endless: bytes) -> None:
    data_dir, job_id = tmp_path / "data", 0
    for attempt in range(1, jobs.MAX_ATTEMPTS + 1):
        with serving(data_dir) as (client, process, _):
            job_id = job_id or send_archive(client, endless)
            now = wait_for_job(client, job_id, partial(is_attempt, attempt))
            assert now["state"] == "running"
            process.kill()
    with serving(data_dir) as (client, process, _):
        now = wait_until_ended(client, job_id)
        assert now["state"] == "failed"
        assert "Failed after 3 attempts" in now["error"]
        assert wait_until_ended(client, send_archive(client, zipped(sample_images(1))))["state"] == "done"
        process.terminate()
        process.wait(60)


def test_planned_stops_do_not_count_as_attempts(settings: Settings, endless: bytes) -> None:
    with open_client(settings) as client:
        job_id = send_archive(client, endless)
        until(readers)
        assert attempts(client, job_id) == 1
    for _ in range(jobs.MAX_ATTEMPTS + 1):
        with open_client(settings) as client:
            until(readers)
    with open_client(settings) as client:
        assert (job(client, job_id)["state"], attempts(client, job_id) <= 1) == ("running", True)
        client.post(f"/jobs/{job_id}/cancel")


def test_waits_do_not_count_as_attempts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits do not count, even if the database is unavailable when the attempt is given back."""
    monkeypatch.setattr(job_runner, "_POLL_S", 0.01)
    tries = 0

    def full(*_: object) -> list[AddResult]:
        nonlocal tries
        tries += 1
        raise UnavailableError("The disk that holds the pictures is full.", retry_after=0)

    def unavailable(*_: object) -> None:
        raise UnavailableError("The database cannot be used right now.")

    with monkeypatch.context() as patched:
        patched.setattr(IngestPipeline, "add", full)
        patched.setattr(jobs, "uncount_attempt", unavailable)
        job_id = send_archive(client, zipped(sample_images(1)))
        until(lambda: tries > jobs.MAX_ATTEMPTS)
        patched.undo()
        patched.setattr(IngestPipeline, "add", full)
        until(lambda: tries > 3 * jobs.MAX_ATTEMPTS)
        assert attempts(client, job_id) <= 1
    assert wait_until_ended(client, job_id)["state"] == "done"


def test_progress_resets_the_number_of_attempts(database: Database) -> None:
    def stored() -> int:
        with database.read_session() as session:
            return jobs.find_job(session, job_id).attempts

    with database.transaction() as session:
        job_id = jobs.create_job(session, "archive", 1).id
    for attempt in (1, 2, 3):
        with database.transaction() as session:
            assert jobs.start_attempt(session, job_id, counts=True) == attempt
    with database.transaction() as session:
        assert jobs.start_attempt(session, job_id, counts=False) == 3
    with database.transaction() as session:
        jobs.advance(session, job_id, 0, [])
    assert stored() == 1
    for expected in (0, 0):
        with database.transaction() as session:
            jobs.uncount_attempt(session, job_id)
        assert stored() == expected


def test_archives_larger_than_declared_are_rejected_with_the_reason(client: TestClient) -> None:
    bomb = raw_zip([Raw(b"a/bomb.png", inflating(100_000_000), 1000)])
    rows = zipped({"metadata.csv": b"file\n" + b"a\n" * 600_000})
    columns = zipped({"metadata.csv": b"file" + b",a" * 100_000 + b"\n"})
    for archive, state, reason in (
        (bomb, "done", "more than the declared 1,000 bytes"),
        (rows, "failed", "metadata.csv: has more than 500,000 rows. Split it"),
        (columns, "failed", "metadata.csv: has more than 1,000 columns"),
    ):
        now = wait_until_ended(client, send_archive(client, archive))
        assert now["state"] == state
        assert reason in (now["error"] or now["rejections"][0]["reason"])
    assert wait_until_ended(client, send_archive(client, zipped(sample_images(1))))["state"] == "done"
