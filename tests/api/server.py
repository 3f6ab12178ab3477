"""The application behind a real socket, for what no test client can do: hang up, send heads of its own, be many."""

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
class Served:
    """Where the application listens."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Sends a request, which has `Connection: close`, as it stands; returns the answer's status and the answer."""
        with closing(self.connect()) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        return status_of(answer), answer


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer.split(None, 2)[1])


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """Serves the application with the fake network from a thread."""
    port = free_port()
    config = uvicorn.Config(
        create_app(settings, open_with_fake), port=port, http=BoundedProtocol, ws="none", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "it did not start"
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield Served(port)
    finally:
        server.should_exit = True
        thread.join(60)
