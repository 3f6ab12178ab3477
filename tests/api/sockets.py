"""The application behind a real socket, in a thread of the test, and raw connections to it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from app.api.admission.protocol import BoundedProtocol
from app.main import create_app
from app.settings import Settings
from tests.conftest import free_port, open_with_fake


@contextmanager
def live(settings: Settings) -> Iterator[int]:
    """Serves the application with the fake network; yields its port."""
    port = free_port()
    app = create_app(settings, open_with_fake)
    server = uvicorn.Server(uvicorn.Config(app, port=port, http=BoundedProtocol, ws="none", log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield port
    finally:
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
