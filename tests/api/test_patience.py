"""Clients that are slow, many or endless, over a real socket: they are cut off or turned away, and nobody waits."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx2
import numpy as np
import pytest
import uvicorn
from PIL import Image

from app.api import protocol
from app.api.protocol import BoundedProtocol
from app.main import create_app
from app.search.types import Encoded
from app.settings import Settings
from tests.conftest import free_port, open_with_fake
from tests.fakes import FakeEncoder
from tests.pictures import corners, encoded

PATIENCE, MOST = 1.0, 3
HEAD = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
PICTURE = encoded(corners(60, 40), "PNG")


@pytest.fixture
def port(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose patience is short and whose house is small."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", PATIENCE)
    patience = {"max_request_seconds": PATIENCE, "transfer_grace_seconds": PATIENCE}
    strict = settings.model_copy(update={**patience, "max_requests": MOST})
    listening = free_port()
    app = create_app(strict, open_with_fake)
    server = uvicorn.Server(uvicorn.Config(app, port=listening, http=BoundedProtocol, ws="none", log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening
    server.should_exit = True
    thread.join()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def closed_after(connection: socket.socket, drip: bytes = b"") -> tuple[float, bytes]:
    """Sends a byte now and then until the other end hangs up; returns the seconds that took, and what it said."""
    began, said = time.monotonic(), b""
    connection.settimeout(0.1)
    while time.monotonic() - began < 15:
        try:
            if drip:
                connection.sendall(drip)
            if not (got := connection.recv(65_536)):
                return time.monotonic() - began, said
            said += got
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - began, said
    raise AssertionError("the connection stays open")


@pytest.mark.parametrize("begin", [b"", b"POST /sea", HEAD])
def test_a_head_that_does_not_come_ends_the_connection(port: int, begin: bytes) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(begin)
        seconds, said = closed_after(connection, b"x" if begin else b"")
    assert PATIENCE - 0.2 <= seconds < PATIENCE + 5
    assert said == b""


def test_a_head_without_end_is_refused(port: int) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(HEAD + b"X-Filler: " + b"x" * 200_000)
        _, said = closed_after(connection)
    assert said.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/problem+json" in said
    assert b"The head of the request, its address included, is too large." in said


def test_a_body_that_comes_byte_by_byte_is_answered_408(port: int) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + PART)
        seconds, said = closed_after(connection, b"x")
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert "1 s" in json.loads(body)["detail"]
    assert seconds < PATIENCE + 8


def test_who_goes_on_sending_after_the_answer_is_hung_up_on(port: int) -> None:
    with closing(connect(port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\nno form at all")
        seconds, said = closed_after(connection, b"x")
    assert said.startswith(b"HTTP/1.1 4")
    assert seconds < PATIENCE + 8


def test_an_answer_that_nobody_takes_is_given_up(port: int, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    large = encoded(Image.fromarray(noise), "PNG")
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        added = client.post("/index", files={"images": large}).json()["items"][0]["id"]
        with closing(socket.socket()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(f"GET /images/{added}/original HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(PATIENCE * 2.5)
            rest = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert len(rest) < len(large)
        assert client.get("/stats").status_code == 200
    assert "Traceback" not in caplog.text


def test_a_connection_that_is_patient_between_requests_is_kept(port: int) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        client.get("/healthz").raise_for_status()
        time.sleep(PATIENCE * 1.5)
        assert client.post("/search", files={"image": PICTURE}).status_code == 200


def test_who_comes_to_a_full_house_is_turned_away_at_once(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held, encode = threading.Event(), FakeEncoder.encode_many

    def slow(self: FakeEncoder, images: Sequence[Image.Image]) -> Encoded:
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
