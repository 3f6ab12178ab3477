"""Archives made to do harm, sent to a service as jobs: each ends with a reason, in little memory, beside searches.

    pytest tests/crash/test_archives.py -o log_cli=true --log-cli-level=WARNING

shows what each took.
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

from tests.api.job_steps import ended, pictures, send, when
from tests.crash.ledger import drawing, serving
from tests.crash.watch import resident
from tests.ingest.archives import BOMBS, write_endless, zipped
from tests.ingest.readers import readers

log = logging.getLogger("torture")

# What a job may take beside the service: a process that reads, with all that is held of an archive.
MOST_BYTES = 200_000_000
# What is promised of a cancelled job and of a service that is stopped.
ENDS_WITHIN_S = 5


@dataclass
class Seen:
    """The most memory that a service and its processes took, and the longest that a search did."""

    bytes: int = 0
    searches: list[float] = field(default_factory=list)


@contextmanager
def watched(client: httpx2.Client, process: Popen[bytes]) -> Iterator[Seen]:
    """Searches, and looks at the memory, for the length of the block."""
    seen, over = Seen(), threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            seen.bytes = max(seen.bytes, resident(process.pid))

    def search() -> None:
        while not over.wait(0.1):
            began = time.monotonic()
            assert client.post("/search", files={"image": drawing(1)}).status_code == 200
            seen.searches.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for work in (watch, search)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx2.Client, Popen[bytes]]]:
    with serving(tmp_path_factory.mktemp("archives") / "data") as (client, process, _):
        ended(client, send(client, zipped(pictures(200))))
        yield client, process
        process.terminate()
        process.wait(60)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bomb", list(BOMBS.values()), ids=list(BOMBS))
def test_a_job_that_is_larger_than_it_looks_ends_with_a_reason_in_little_memory(
    service: tuple[httpx2.Client, Popen[bytes]], bomb: Callable[[], bytes], request: pytest.FixtureRequest
) -> None:
    client, process = service
    archive = bomb()
    before, began = resident(process.pid), time.monotonic()
    with watched(client, process) as seen:
        now = ended(client, send(client, archive), 300)
        took = time.monotonic() - began
        assert ended(client, send(client, zipped({"next.png": drawing(4)})))["state"] == "done"
    reason = now["error"] or now["rejections"][0]["reason"]
    figures = len(archive) / 1e6, took, (seen.bytes - before) / 1e6, max(seen.searches), reason
    log.warning("%s: %.1f MB, %.1f s, %.0f MB of memory, slowest search %.2f s: %s", request.node.callspec.id, *figures)
    assert now["attempts"] == 1
    assert seen.bytes - before < MOST_BYTES
    assert max(seen.searches) < 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize("watching", [False, True], ids=["alone", "watched"])
def test_cancel_and_sigterm_end_a_job_that_has_no_end(tmp_path: Path, watching: bool) -> None:
    write_endless(tmp_path / "endless", 35)
    endless = (tmp_path / "endless").read_bytes()
    with serving(tmp_path / "data") as (client, process, _):
        first, second = send(client, endless), send(client, endless)
        until(lambda: readers(process.pid))
        # For a moment it has a fork, which tries the filter of system calls.
        reader = min(readers(process.pid))
        cancelled = time.monotonic()
        assert client.post(f"/jobs/{first}/cancel").json()["state"] == "cancelled"
        until(lambda: reader not in readers(process.pid))
        cancel_s = time.monotonic() - cancelled
        when(client, second, lambda now: now["attempts"] == 1)
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


def until(so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
