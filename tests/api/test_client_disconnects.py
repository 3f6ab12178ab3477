"""Clients that disconnect before or during their response, which is not an error of the service."""

import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from app.api.middleware.request_log import DISCONNECTED
from app.api.routes import jobs as api
from app.search.encode.batching import NetworkInput
from app.search.types import Encodings
from app.settings import Settings
from tests.api.job_helpers import IngestGate, remaining_files, sample_images, send_archive, wait_for_job
from tests.api.server import Server, serve
from tests.api.test_request_log import Lines
from tests.fakes import FakeEncoder
from tests.images import corners, encoded
from tests.ingest.archives import zipped

PICTURE = encoded(corners(60, 40), "PNG")
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n'
UPLOADS = {
    "a search": (b"POST /search", FORM, PART % b"image" + b"some bytes"),
    "an addition": (b"POST /index", FORM, PART % b"images" + b"some bytes"),
    "an archive": (b"POST /jobs", b"", b"PK\x03\x04 some bytes"),
    "an archive in a form": (b"POST /jobs", FORM, PART % b"archive" + b"some bytes"),
    "a change": (b"PATCH /images/1", b"Content-Type: application/json\r\n", b'{"label": "bo'),
    "a key": (b"POST /session", b"Content-Type: application/json\r\n", b'{"key": "lk'),
    "a search that sends nothing": (b"POST /search", FORM, b""),
}


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    handler, loggers = Lines(), [logging.getLogger(name) for name in ("app", "uvicorn.error")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    yield handler.found
    for log, level in zip(loggers, levels, strict=True):
        log.removeHandler(handler)
        log.setLevel(level)


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    with serve(settings) as running:
        yield running


def reset(connection: socket.socket) -> None:
    """Reset a connection, as when a client is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def logged(lines: list[dict[str, Any]], path: str) -> dict[str, Any]:
    """Wait for the log line of a request, and return it."""
    until = time.monotonic() + 60
    while not (found := [line for line in lines if line.get("path") == path]):
        assert time.monotonic() < until, lines
        time.sleep(0.02)
    return found[0]


def assert_no_errors(lines: list[dict[str, Any]]) -> None:
    assert [line for line in lines if line["level"] in ("error", "critical") or "exception" in line] == []


@pytest.mark.parametrize("upload", UPLOADS)
@pytest.mark.parametrize("close", [socket.socket.close, reset], ids=["end", "reset"])
def test_disconnect_during_upload_is_logged_as_499(
    server: Server, settings: Settings, lines: list[dict[str, Any]], upload: str, close: Any
) -> None:
    target, kind, body = UPLOADS[upload]
    connection = server.connect()
    connection.sendall(target + b" HTTP/1.1\r\nHost: localhost\r\n" + kind + b"Content-Length: 60000\r\n\r\n" + body)
    # Wait until the service reads the body.
    metrics = httpx2.get(f"{server.url}/metrics").text
    while "lookalike_http_requests_in_progress 2.0" not in metrics:
        metrics = httpx2.get(f"{server.url}/metrics").text
    close(connection)
    line = logged(lines, target.split()[1].decode())
    assert (line["status"], line["level"]) == (DISCONNECTED, "info")
    assert_no_errors(lines)
    metrics = httpx2.get(f"{server.url}/metrics").text
    assert f'status="{DISCONNECTED}"' in metrics
    assert "lookalike_http_errors_total{" not in metrics
    assert remaining_files(settings) == []


def test_disconnect_during_a_search_is_not_an_error(
    server: Server, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, held, encode = threading.Event(), threading.Event(), FakeEncoder.encode_many

    def slow(self: FakeEncoder, images: Sequence[NetworkInput]) -> Encodings:
        begun.set()
        assert held.wait(60)
        return encode(self, images)

    monkeypatch.setattr(FakeEncoder, "encode_many", slow)
    body = PART % b"image" + PICTURE + b"\r\n--b--\r\n"
    connection = server.connect()
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\n" + FORM + b"Content-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body)
    assert begun.wait(60)
    reset(connection)
    # A separate request shows that the event loop has noticed the disconnect.
    assert httpx2.get(f"{server.url}/healthz").status_code == 200
    held.set()
    assert logged(lines, "/search")["level"] == "info"
    assert_no_errors(lines)
    assert httpx2.get(f"{server.url}/stats").status_code == 200


def test_disconnect_during_download_is_not_an_error(server: Server, lines: list[dict[str, Any]]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    large = encoded(Image.fromarray(noise), "PNG")
    added = httpx2.post(f"{server.url}/index", files={"images": large}, timeout=60).json()["items"][0]["id"]
    path = f"/images/{added}/original"
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    reset(connection)
    assert logged(lines, path)["status"] == 200
    assert_no_errors(lines)


def test_disconnected_event_streams_release_their_permits(
    server: Server, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 3
    monkeypatch.setitem(api.LIMITS, api.EVENT_STREAMS, most)
    gate = IngestGate(monkeypatch)
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        job_id = send_archive(client, zipped(sample_images(100)))
        wait_for_job(client, job_id, lambda _: gate.calls > 0)
        for _ in range(3):
            watching = [watcher(server, job_id) for _ in range(most)]
            for connection in watching:
                reset(connection)
        gate.open.set()
    assert {line["status"] for line in lines if line.get("path", "").endswith("/events")} <= {200, 503}
    assert_no_errors(lines)


def test_event_streams_above_the_limit_return_503(
    server: Server, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, count = IngestGate(monkeypatch), 2 * api.LIMITS[api.EVENT_STREAMS] + 5
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        job_id = send_archive(client, zipped(sample_images(100)))
        wait_for_job(client, job_id, lambda _: gate.calls > 0)
        connections = [server.connect() for _ in range(count)]
        for connection in connections:
            head = f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
        heads = [connection.recv(65_536) for connection in connections]
        gate.open.set()
        rests = [rest_of(connection) for connection in connections]
    refused = [head for head in heads if head.startswith(b"HTTP/1.1 503")]
    assert len(refused) == count - api.LIMITS[api.EVENT_STREAMS]
    assert all(b"retry-after: 1\r\n" in head and b"application/problem+json" in head for head in refused)
    streams = [rest for head, rest in zip(heads, rests, strict=True) if head.startswith(b"HTTP/1.1 200")]
    assert len(streams) == api.LIMITS[api.EVENT_STREAMS]
    assert all(rest.endswith(b"0\r\n\r\n") and b'"state":"done"' in rest for rest in streams)
    assert_no_errors(lines)


def watcher(server: Server, job_id: int) -> socket.socket:
    """Open an event stream, as soon as a permit is free; return its connection."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        connection = server.connect()
        connection.sendall(f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if connection.recv(65_536).startswith(b"HTTP/1.1 200"):
            return connection
        connection.close()
        time.sleep(0.05)
    raise AssertionError("no permit was released")


def rest_of(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    with closing(connection):
        return b"".join(iter(lambda: connection.recv(65_536), b""))
