"""Archive bombs as jobs: each fails with a reason, within memory limits, while searches continue.

    pytest tests/crash/test_archives.py -o log_cli=true --log-cli-level=WARNING

logs time and memory of each.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import httpx2
import pytest

from tests.api.job_helpers import sample_images, send_archive, wait_for_job, wait_until_ended
from tests.crash.ledger import numbered_image, serving
from tests.crash.process_usage import resident
from tests.ingest.archives import BOMBS, write_endless, zipped
from tests.ingest.readers import readers

log = logging.getLogger("torture")

# Memory of a job in addition to the service: the reader process with an archive's names and rows.
MOST_BYTES = 200_000_000
# Documented limit for cancelling a job and for stopping the service.
ENDS_WITHIN_S = 5


@dataclass
class Usage:
    """Peak memory of the service and its processes, and durations of searches."""

    bytes: int = 0
    searches: list[float] = field(default_factory=list)


@contextmanager
def watched(client: httpx2.Client, process: Popen[bytes]) -> Iterator[Usage]:
    """Search and sample memory during the block."""
    usage, done = Usage(), threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            usage.bytes = max(usage.bytes, resident(process.pid))

    def search() -> None:
        while not done.wait(0.1):
            began = time.monotonic()
            assert client.post("/search", files={"image": numbered_image(1)}).status_code == 200
            usage.searches.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for work in (watch, search)]
    for thread in threads:
        thread.start()
    try:
        yield usage
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx2.Client, Popen[bytes]]]:
    with serving(tmp_path_factory.mktemp("archives") / "data") as (client, process, _):
        wait_until_ended(client, send_archive(client, zipped(sample_images(200))))
        yield client, process
        process.terminate()
        process.wait(60)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bomb", list(BOMBS.values()), ids=list(BOMBS))
def test_archive_bomb_fails_with_a_reason_within_memory_limits(
    service: tuple[httpx2.Client, Popen[bytes]], bomb: Callable[[], bytes], request: pytest.FixtureRequest
) -> None:
    client, process = service
    archive = bomb()
    before, began = resident(process.pid), time.monotonic()
    with watched(client, process) as usage:
        now = wait_until_ended(client, send_archive(client, archive), 300)
        took = time.monotonic() - began
        next_job = send_archive(client, zipped({"next.png": numbered_image(4)}))
        assert wait_until_ended(client, next_job)["state"] == "done"
    reason = now["error"] or now["rejections"][0]["reason"]
    figures = len(archive) / 1e6, took, (usage.bytes - before) / 1e6, max(usage.searches), reason
    log.warning("%s: %.1f MB, %.1f s, %.0f MB of memory, slowest search %.2f s: %s", request.node.callspec.id, *figures)
    assert now["attempts"] == 1
    assert usage.bytes - before < MOST_BYTES
    assert max(usage.searches) < 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize("watching", [False, True], ids=["alone", "watched"])
def test_cancel_and_sigterm_end_an_endless_job(tmp_path: Path, watching: bool) -> None:
    write_endless(tmp_path / "endless", 35)
    endless = (tmp_path / "endless").read_bytes()
    with serving(tmp_path / "data") as (client, process, _):
        first, second = send_archive(client, endless), send_archive(client, endless)
        until(lambda: readers(process.pid))
        # It briefly has a fork, which tests the seccomp filter.
        reader = min(readers(process.pid))
        cancelled = time.monotonic()
        assert client.post(f"/jobs/{first}/cancel").json()["state"] == "cancelled"
        until(lambda: reader not in readers(process.pid))
        cancel_s = time.monotonic() - cancelled
        wait_for_job(client, second, lambda now: now["attempts"] == 1)
        until(lambda: readers(process.pid))
        events = threading.Thread(target=lambda: [*watch(client, second)] if watching else [])
        events.start()
        time.sleep(1)
        terminated = time.monotonic()
        process.terminate()
        process.wait(60)
        term_s = time.monotonic() - terminated
        events.join()
    log.warning("cancel took %.1f s, SIGTERM %.1f s", cancel_s, term_s)
    assert max(cancel_s, term_s) < ENDS_WITHIN_S
    assert not Path(f"/proc/{reader}").exists()


def watch(client: httpx2.Client, job_id: int) -> Iterator[str]:
    with client.stream("GET", f"/jobs/{job_id}/events") as answer:
        yield from answer.iter_lines()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
