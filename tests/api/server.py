"""Serve the application on a real port, for raw requests that a test client cannot send."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import uvicorn

from app.api.admission.protocol import BoundedProtocol
from app.main import create_app
from app.settings import Settings
from tests.conftest import free_port, open_with_fake


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def request(self, request: bytes) -> tuple[int, bytes]:
        """Send a raw request, which must have `Connection: close`; return the response's status and bytes."""
        with closing(self.connect()) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        return status_of(answer), answer


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer.split(None, 2)[1])


@contextmanager
def serve(settings: Settings) -> Iterator[Server]:
    """Serve the application with the fake model from a thread."""
    port = free_port()
    config = uvicorn.Config(
        create_app(settings, open_with_fake),
        port=port,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield Server(port)
    finally:
        server.should_exit = True
        thread.join(60)
