"""Suspended PostgreSQL (SIGSTOP): every request is answered, and the service recovers afterwards."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.crash.ledger import Ledger, numbered_image, serving

log = logging.getLogger("torture")

REQUESTS = int(os.environ.get("TORTURE_STOPPED_REQUESTS", "40"))
ANSWER_S, BACK_S, END_S = 30, 5, 30


def processes(data_dir: Path) -> list[int]:
    server = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [server, *map(int, children)]


@contextmanager
def stopped(data_dir: Path) -> Iterator[list[int]]:
    """Suspend all processes of PostgreSQL during the block."""
    found = processes(data_dir)
    for process in found:
        os.kill(process, signal.SIGSTOP)
    try:
        yield found
    finally:
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def request(client: httpx2.Client, number: int) -> tuple[int, float]:
    """Send one of five kinds of request; return its status and seconds."""
    began = time.monotonic()
    kind = number % 5
    if kind == 0:
        answer = client.post("/search", files={"image": numbered_image(number)})
    elif kind == 1:
        answer = client.post("/index", files={"images": numbered_image(1000 + number)})
    elif kind == 2:
        answer = client.patch("/images/1", json={"metadata": {"number": number}})
    elif kind == 3:
        answer = client.delete(f"/images/{2 + number}")
    else:
        answer = client.get("/images")
    return answer.status_code, time.monotonic() - began


@pytest.mark.timeout(600)
def test_requests_are_answered_while_postgresql_is_suspended(tmp_path: Path) -> None:
    data_dir, ledger = tmp_path / "data", Ledger()
    with serving(data_dir) as (client, process, _), ThreadPoolExecutor(16) as crowd:
        client.timeout = httpx2.Timeout(2 * ANSWER_S)
        for _ in range(4):
            ledger.add(client, 3)
        # Some are in progress at the stop, so that connections wait for responses.
        under_way = [crowd.submit(request, client, number) for number in range(16)]
        time.sleep(0.2)
        with stopped(data_dir):
            later = [crowd.submit(request, client, number) for number in range(16, 16 + REQUESTS)]
            before, after = ([answer.result() for answer in answers] for answers in (under_way, later))
            assert client.get("/healthz").status_code == 200
        back = recovery_seconds(client)
        # Check the acknowledged image that the requests have not changed.
        ledger.stored = {key: stored for key, stored in ledger.stored.items() if stored[0] == 1}
        ledger.check(client)
        with stopped(data_dir):
            began = time.monotonic()
            process.terminate()
            process.wait(2 * END_S)
            ended = time.monotonic() - began
    slowest = max(seconds for _, seconds in (*before, *after))
    log.warning(
        "%d requests, slowest %.1f s, works again after %.1f s, SIGTERM after %.1f s", REQUESTS, slowest, back, ended
    )
    assert {status for status, _ in before} <= {200, 201, 204, 404, 503}
    assert [status for status, _ in after] == [503] * REQUESTS
    assert slowest < ANSWER_S
    assert back < BACK_S
    assert ended < END_S


def recovery_seconds(client: httpx2.Client) -> float:
    began = time.monotonic()
    while (answer := client.post("/index", files={"images": numbered_image(5000)})).status_code != 201:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() - began < 10 * BACK_S
        time.sleep(0.05)
    assert client.post("/search", files={"image": numbered_image(5000)}).status_code == 200
    return time.monotonic() - began


@pytest.mark.timeout(300)
def test_sigterm_ends_requests_that_wait_for_a_suspended_postgresql(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir) as (client, process, _):
        client.post("/index", files={"images": numbered_image(1)}).raise_for_status()
        with stopped(data_dir):
            waiting = [threading.Thread(target=search, args=(client,)) for _ in range(8)]
            for thread in waiting:
                thread.start()
            time.sleep(1)
            began = time.monotonic()
            process.terminate()
            process.wait(2 * END_S)
            ended = time.monotonic() - began
            for thread in waiting:
                thread.join()
    log.warning("SIGTERM with requests that wait: %.1f s", ended)
    assert ended < END_S


def search(client: httpx2.Client) -> None:
    with suppress(httpx2.TransportError):
        client.post("/search", files={"image": numbered_image(1)})
