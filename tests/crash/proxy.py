"""TCP proxy of PostgreSQL that can drop connections, at once or just before or after a commit."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Cut = Literal["before", "after"]
COMMIT = b"COMMIT"
BYTES = 65_536


class Proxy:
    """Forwards bytes between a TCP port and PostgreSQL's Unix socket.

    Attributes:
        port: the port it listens on.
        commits: the number of forwarded commits.
    """

    def __init__(self, target: str) -> None:
        self._target, self._connections, self._down = target, set[socket.socket](), False
        self._cut: tuple[int, Cut] | None = None
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.commits = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        """Close all connections and the listening socket."""
        _shut_down(self._listening)
        self._thread.join()
        self._listening.close()
        self.stop()

    def stop(self) -> None:
        """Close all connections and refuse new ones, as a restarting server does."""
        with self._lock:
            self._down = True
            for connection in self._connections:
                _shut_down(connection)

    def resume(self) -> None:
        """Accept connections again."""
        self._down = False

    def cut(self, when: Cut, commits: int = 1) -> None:
        """Close a connection once, at the nth commit from now.

        "before": the commit is not forwarded. "after": PostgreSQL commits, but the client gets no response.
        """
        self._cut = self.commits + commits, when

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with self._lock:
                    if self._down:
                        client.close()
                        continue
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self._target)
                    self._connections |= {client, server}
                threading.Thread(target=self._forward, args=(client, server)).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        responses = threading.Thread(target=_pump, args=(server, client))
        responses.start()
        with suppress(OSError):
            while data := client.recv(BYTES):
                cut = self._cut_at(data.count(COMMIT))
                if cut == "after":
                    _shut_down(client)
                if cut != "before":
                    server.sendall(data)
                if cut is not None:
                    break
        with suppress(OSError):
            # Responses still arrive; PostgreSQL commits what it has read.
            server.shutdown(socket.SHUT_WR)
        responses.join()
        with self._lock:
            self._connections -= {client, server}
        client.close()
        server.close()

    def _cut_at(self, commits: int) -> Cut | None:
        self.commits += commits
        if self._cut is None or self.commits < self._cut[0]:
            return None
        (_, when), self._cut = self._cut, None
        return when


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(BYTES):
            target.sendall(data)
    _shut_down(target)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """Start a proxy of PostgreSQL's socket."""
    opened = Proxy(target)
    try:
        yield opened
    finally:
        opened.close()
