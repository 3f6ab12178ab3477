"""Helpers for tests of jobs: send archives, poll jobs, pause the ingest pipeline."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.ingest.jobs.stop import Stop
from app.ingest.pipeline import IngestPipeline
from app.ingest.uploads import AddResult, OnDuplicate, Upload
from app.main import create_app
from app.settings import Settings
from tests.conftest import open_with_fake
from tests.crash.ledger import numbered_image

ENDED = ("done", "failed", "cancelled")


def sample_images(count: int) -> dict[str, bytes]:
    return {f"folder/{at:04}.png": numbered_image(at) for at in range(count)}


def send_archive(client: TestClient | httpx2.Client, archive: bytes) -> int:
    answer = client.post("/jobs", content=archive)
    assert answer.status_code == 202, answer.text
    job_id: int = answer.json()["id"]
    assert answer.headers["location"] == f"/jobs/{job_id}"
    return job_id


def job(client: TestClient | httpx2.Client, job_id: int) -> dict[str, Any]:
    answer = client.get(f"/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def wait_until_ended(client: TestClient | httpx2.Client, job_id: int, seconds: float = 60) -> dict[str, Any]:
    """Wait until a job ends, and return it."""
    return wait_for_job(client, job_id, lambda now: now["state"] in ENDED, seconds)


def wait_for_job(
    client: TestClient | httpx2.Client, job_id: int, condition: Callable[[dict[str, Any]], bool], seconds: float = 60
) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while not condition(now := job(client, job_id)):
        assert time.monotonic() < until, now
        time.sleep(0.02)
    return now


def counts(now: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(now[name] for name in ("total", "processed", "created", "updated", "unchanged", "rejected"))


def keys(client: TestClient | httpx2.Client) -> list[str]:
    return [item["key"] for item in client.get("/images", params={"limit": 1000}).json()["items"]]


def remaining_files(settings: Settings) -> list[Path]:
    folder = settings.data_dir / "jobs"
    return list(folder.iterdir()) if folder.exists() else []


@contextmanager
def open_client(settings: Settings, **changes: object) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update=changes), open_with_fake)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


class IngestGate:
    """Blocks `Ingest.add` until `open` is set, and counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.calls = threading.Event(), 0
        original = IngestPipeline.add

        def add(
            ingest: IngestPipeline,
            uploads: Sequence[Upload],
            stop: Stop | None = None,
            on_duplicate: OnDuplicate = OnDuplicate.ADD,
        ) -> list[AddResult]:
            self.calls += 1
            assert self.open.wait(30)
            return original(ingest, uploads, stop, on_duplicate)

        monkeypatch.setattr(IngestPipeline, "add", add)
