"""Serve the application on a real port, from a thread, and open raw connections to it."""

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
def serve_on_port(settings: Settings) -> Iterator[int]:
    """Serve the application with the fake model; yield its port."""
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
    """Send `drip` every 0.1 s until the server closes the connection; return the seconds and the bytes read."""
    started, received = time.monotonic(), b""
    connection.settimeout(0.1)
    while time.monotonic() - started < 15:
        try:
            if drip:
                connection.sendall(drip)
            if not (data := connection.recv(65_536)):
                return time.monotonic() - started, received
            received += data
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - started, received
    raise AssertionError("the connection stays open")
