"""Commands say what they wait for when a service does not answer."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from lookalike_client import Lookalike, RetryPolicy, UnreachableError
from typer.testing import CliRunner

from app.cli.images.waiting import WaitNotice
from app.cli.main import app as commands
from tests.cli.output import output_of
from tests.conftest import free_port
from tests.images import encoded, gradient

STATS = (
    b'{"images": 1, "labels": 0, "model": {"name": "m", "fingerprint": "f", "backbone": "b", "bits": 8, '
    b'"feature_dim": 4, "feature_norm": "none"}, "seq": 1, "applied_seq": 1, "bytes": {}, "version": "0"}'
)


def response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@contextmanager
def service(*responses: tuple[float, bytes]) -> Iterator[str]:
    """Answer each connection with the next response after some seconds; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for delay, answer in responses:
                with suppress(OSError), listener.accept()[0] as connection:
                    connection.recv(65_536)
                    time.sleep(delay)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def ask(url: str, attempts: int = 3) -> list[str]:
    """Ask for statistics; returns what was said meanwhile."""
    said: list[str] = []
    waiting = WaitNotice(url, said.append, delay_s=0.3)
    with Lookalike(url, retries=RetryPolicy(attempts, 0.4, 0.4), trace=waiting) as client:
        client.stats()
    waiting.close()
    return said


def test_service_that_answers_at_once_is_not_reported() -> None:
    with service((0, response("200 OK", STATS))) as url:
        assert ask(url) == []
        time.sleep(0.5)


def test_service_that_does_not_answer_is_reported_once() -> None:
    with service((0.8, response("200 OK", STATS))) as url:
        (said,) = ask(url)
    assert said == f"Waiting for {url}: it has the request and has not answered yet. Ctrl-C stops."


def test_busy_service_is_reported_with_its_status() -> None:
    busy = response("503 Service Unavailable", b"")
    with service((0, busy), (0, busy), (0, response("200 OK", STATS))) as url:
        (said,) = ask(url)
    assert said == f"Waiting for {url}: it answered 503 Service Unavailable; trying again. Ctrl-C stops."


def test_unreachable_service_is_reported_with_the_cause() -> None:
    said: list[str] = []
    url = f"http://127.0.0.1:{free_port()}"
    waiting = WaitNotice(url, said.append, delay_s=0.2)
    policy = RetryPolicy(3, 0.4, 0.4)
    with Lookalike(url, retries=policy, trace=waiting) as client, pytest.raises(UnreachableError):
        client.stats()
    waiting.close()
    (sentence,) = said
    assert "Connection refused; trying again. Ctrl-C stops." in sentence


def test_nothing_is_reported_after_the_end() -> None:
    said: list[str] = []
    waiting = WaitNotice("http://x", said.append, delay_s=0.1)
    waiting("connection.connect_tcp.started", {})
    waiting.close()
    time.sleep(0.3)
    assert said == []


def test_requests_of_several_threads_are_reported_once() -> None:
    said: list[str] = []
    waiting = WaitNotice("http://x", said.append, delay_s=0.1)
    threads = [threading.Thread(target=waiting, args=("connection.connect_tcp.started", {})) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    assert said == ["Waiting for http://x: it does not accept the connection. Ctrl-C stops."]


def test_index_says_after_three_seconds_that_the_service_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.index._ATTEMPTS", 5)
    (tmp_path / "1.png").write_bytes(encoded(gradient(), "PNG"))
    url = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(commands, ["index", str(tmp_path / "1.png"), "--url", url])
    assert result.exit_code == 1
    assert f"Waiting for {url}: " in output_of(result)
    assert "does not respond" in output_of(result)


@pytest.mark.parametrize("command", [["index", "."], ["search", "x.png"], ["delete", "key"]])
@pytest.mark.parametrize(
    ("url", "correction"),
    [
        ("127.0.0.1:8000", "the scheme is missing. Use http://127.0.0.1:8000"),
        ("localhost:8000", "the scheme is missing. Use http://localhost:8000"),
        ("//shop.example/images", "the scheme is missing. Use http://shop.example/images"),
        ("[::1]:8000", "the scheme is missing. Use http://[::1]:8000"),
        ("http:/127.0.0.1:8000", "slashes are missing. Use http://127.0.0.1:8000"),
        ("https:shop.example", "slashes are missing. Use https://shop.example"),
    ],
)
def test_url_without_a_scheme_is_refused_with_the_corrected_one(
    tmp_path: Path, command: list[str], url: str, correction: str
) -> None:
    environment = {"LOOKALIKE_DATA_DIR": str(tmp_path / "data")}
    for words, variables in (([*command, "--url", url], {}), (command, {"LOOKALIKE_URL": url})):
        result = CliRunner().invoke(commands, words, env=environment | variables)
        assert result.exit_code == 1
        assert f"{url!r} is not an HTTP address: {correction}." in output_of(result)
    assert not (tmp_path / "data").exists()
