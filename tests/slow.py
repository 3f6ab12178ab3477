"""A wire to a server on which requests of a kind can be held up."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BYTES = 65_536


class SlowWire:
    """Passes bytes between a port of its own and another; a request whose first line has a word in it may be held.

    Attributes:
        port: where it listens.
        waiting: set while a request is held.
    """

    def __init__(self, target: int) -> None:
        self._target, self._held = target, b""
        self._go_on, self.waiting = threading.Event(), threading.Event()
        self._open = set[socket.socket]()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, word: bytes) -> None:
        """Holds requests with this word in their first line from now on."""
        self.waiting.clear()
        self._go_on.clear()
        self._held = word

    def release(self) -> None:
        """Passes on what is held, also of clients that no longer wait for it, and all that comes."""
        self._held = b""
        self._go_on.set()

    def close(self) -> None:
        """Ends all connections."""
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
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(BYTES):
                if self._held and self._held in data.partition(b"\r\n")[0]:
                    self.waiting.set()
                    self._go_on.wait()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(BYTES):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_wire(target: int) -> Iterator[SlowWire]:
    """Opens a wire to a port of this machine."""
    opened = SlowWire(target)
    try:
        yield opened
    finally:
        opened.close()
