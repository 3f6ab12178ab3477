"""Slow, endless and too many clients, over a real socket, are disconnected or rejected."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import httpx2
import numpy as np
import pytest
from PIL import Image

from app.api.admission import protocol, slow_readers
from app.search.encode.batching import NetworkInput
from app.search.types import Encodings
from app.settings import Settings
from tests.api.sockets import closed_after, connect, serve_on_port
from tests.fakes import FakeEncoder
from tests.images import corners, encoded

TIMEOUT_S, MOST = 1.0, 3
HEAD = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
PICTURE = encoded(corners(60, 40), "PNG")


@pytest.fixture
def port(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with short timeouts and a low concurrency limit."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", TIMEOUT_S)
    monkeypatch.setattr(slow_readers, "CHECK_INTERVAL_S", TIMEOUT_S / 5)
    timeouts = {"request_read_timeout_seconds": TIMEOUT_S, "transfer_grace_seconds": TIMEOUT_S}
    strict = settings.model_copy(update={**timeouts, "max_concurrent_requests": MOST})
    with serve_on_port(strict) as listening:
        yield listening


@pytest.mark.parametrize("begin", [b"", b"POST /sea", HEAD])
def test_incomplete_head_closes_the_connection_after_the_timeout(port: int, begin: bytes) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(begin)
        seconds, received = closed_after(connection, b"x" if begin else b"")
    assert TIMEOUT_S - 0.2 <= seconds < TIMEOUT_S + 5
    assert received == b""


def test_too_large_head_returns_400(port: int) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(HEAD + b"X-Filler: " + b"x" * 200_000)
        _, received = closed_after(connection)
    assert received.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/problem+json" in received
    assert b"is too large" in received


def test_body_sent_byte_by_byte_returns_408(port: int) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + PART)
        seconds, received = closed_after(connection, b"x")
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert "1 s" in json.loads(body)["detail"]
    assert seconds < TIMEOUT_S + 8


def test_client_that_sends_after_its_response_is_disconnected(port: int) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\nno form at all")
        seconds, received = closed_after(connection, b"x")
    assert received.startswith(b"HTTP/1.1 4")
    assert seconds < TIMEOUT_S + 8


@pytest.fixture
def large(port: int) -> tuple[int, int]:
    """Id and size of an image larger than any buffer of a connection."""
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "PNG")
    added = httpx2.post(f"http://127.0.0.1:{port}/index", files={"images": data}, timeout=60).json()
    return added["items"][0]["id"], len(data)


def ask(port: int, path: str) -> socket.socket:
    """Send a request over a connection with a small receive buffer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            received += data
    return received


def test_client_that_does_not_read_is_disconnected(
    port: int, large: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    added, size = large
    with closing(ask(port, f"/images/{added}/original")) as connection:
        time.sleep(TIMEOUT_S * 3)
        assert len(rest_of(connection)) < size
    assert httpx2.get(f"http://127.0.0.1:{port}/stats").status_code == 200
    assert "Traceback" not in caplog.text


def test_client_that_reads_slowly_gets_the_whole_response(port: int, large: tuple[int, int]) -> None:
    added, size = large
    with closing(ask(port, f"/images/{added}/original")) as connection:
        received, until = b"", time.monotonic() + TIMEOUT_S * 4
        while time.monotonic() < until:
            received += connection.recv(4096)
            time.sleep(TIMEOUT_S / 10)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert len(received + rest_of(connection)) > size


def test_client_that_does_not_read_a_list_is_disconnected(port: int) -> None:
    about = json.dumps([{"key": str(at), "text": "x" * 200_000} for at in range(5)])
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for _ in range(3):
            files = [("images", encoded(corners(60 + at, 40), "PNG")) for at in range(5)]
            client.post("/index", files=files, data={"metadata": about}).raise_for_status()
        whole = len(client.get("/images").content)
    assert whole > 1_000_000
    with closing(ask(port, "/images?limit=5")) as connection:
        time.sleep(TIMEOUT_S * 4)
        assert len(rest_of(connection)) < whole


@pytest.mark.slow
def test_body_below_the_minimum_rate_returns_408_before_the_body_timeout(settings: Settings) -> None:
    long_timeout = settings.model_copy(
        update={"request_read_timeout_seconds": 600.0, "transfer_grace_seconds": TIMEOUT_S}
    )
    with serve_on_port(long_timeout) as port:
        for path in (b"/search", b"/session"):
            with closing(connect(port)) as connection:
                head = HEAD.replace(b"/search", path)
                connection.sendall(head + b"Content-Length: 10000\r\n\r\n" + PART)
                seconds, received = closed_after(connection, b"x")
            assert received.startswith(b"HTTP/1.1 408")
            assert seconds < TIMEOUT_S + 12


def test_slow_body_above_the_minimum_rate_is_accepted(settings: Settings) -> None:
    slow = settings.model_copy(update={"transfer_grace_seconds": TIMEOUT_S, "min_transfer_rate": 40})
    form = PART + PICTURE + b"\r\n--b--\r\n"
    with serve_on_port(slow) as port, closing(connect(port)) as connection:
        connection.sendall(HEAD + f"Content-Length: {len(form)}\r\n\r\n".encode())
        for at in range(0, len(form), len(form) // 12):
            connection.sendall(form[at : at + len(form) // 12])
            time.sleep(TIMEOUT_S / 4)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_head_with_too_many_headers_returns_400(port: int) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(HEAD + b"".join(b"X-%d: y\r\n" % at for at in range(1000)) + b"\r\n")
        _, received = closed_after(connection)
    assert received.startswith(b"HTTP/1.1 400")
    assert b"too many headers" in received


def test_too_many_pipelined_requests_close_the_connection(port: int) -> None:
    request = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"
    with closing(connect(port)) as connection:
        connection.sendall(request * 4)
        connection.settimeout(5)
        received = b""
        while received.count(b"HTTP/1.1 200") < 4:
            received += connection.recv(65_536)
    with closing(connect(port)) as connection:
        connection.sendall(request * 2000)
        _, received = closed_after(connection)
    assert received.count(b"HTTP/1.1 200") < 20


def test_above_the_connection_limit_the_longest_idle_connection_is_closed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 600.0)
    with serve_on_port(settings.model_copy(update={"max_connections": 10})) as port:
        idle = [connect(port) for _ in range(10)]
        for _ in range(5):
            assert httpx2.get(f"http://127.0.0.1:{port}/stats").status_code == 200
        closed = [connection for connection in idle if hung_up(connection)]
        assert closed
        assert closed == idle[: len(closed)]
        for connection in idle:
            connection.close()


def hung_up(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_idle_connection_between_requests_stays_open(port: int) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.get("/healthz").raise_for_status()
        time.sleep(TIMEOUT_S * 1.5)
        assert client.post("/search", files={"image": PICTURE}).status_code == 200


def test_searches_above_the_concurrency_limit_return_503_at_once(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held, encode = threading.Event(), FakeEncoder.encode_many

    def slow(self: FakeEncoder, images: Sequence[NetworkInput]) -> Encodings:
        held.wait(10)
        return encode(self, images)

    monkeypatch.setattr(FakeEncoder, "encode_many", slow)

    def search(_: int) -> tuple[int, float, str]:
        began = time.monotonic()
        answer = httpx2.post(f"http://127.0.0.1:{port}/search", files={"image": PICTURE}, timeout=30)
        return answer.status_code, time.monotonic() - began, answer.headers.get("retry-after", "")

    with ThreadPoolExecutor(10 * MOST) as callers:
        calls = [callers.submit(search, at) for at in range(10 * MOST)]
        while sum(call.done() for call in calls) < 9 * MOST:
            time.sleep(0.01)
        assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        held.set()
        answers = [call.result() for call in calls]
    assert sorted(status for status, _, _ in answers) == [200] * MOST + [503] * 9 * MOST
    assert {after for status, _, after in answers if status == 503} == {"1"}
    assert search(0)[0] == 200
