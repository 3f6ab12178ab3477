"""TCP proxy that can hold back selected HTTP requests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BYTES = 65_536


class HoldingProxy:
    """TCP proxy to a local port; requests with a given word in their first line can be held back.

    Attributes:
        port: port that the proxy listens on.
        waiting: set while a request is held back.
    """

    def __init__(self, target: int) -> None:
        self._target, self._held = target, b""
        self._released, self.waiting = threading.Event(), threading.Event()
        self._open = set[socket.socket]()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, word: bytes) -> None:
        """Hold back requests with this word in their first line."""
        self.waiting.clear()
        self._released.clear()
        self._held = word

    def release(self) -> None:
        """Forward held and later requests, even of clients that have disconnected."""
        self._held = b""
        self._released.set()

    def close(self) -> None:
        """Close all connections."""
        self.release()
        for connection in (self._listening, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open |= {client, server}
                threading.Thread(target=self._forward_requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._forward_responses, args=(server, client), daemon=True).start()

    def _forward_requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(BYTES):
                if self._held and self._held in data.partition(b"\r\n")[0]:
                    self.waiting.set()
                    self._released.wait()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _forward_responses(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(BYTES):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def holding_proxy(target: int) -> Iterator[HoldingProxy]:
    """Run a proxy to a local port during the block."""
    proxy = HoldingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
