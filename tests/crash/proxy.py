"""A wire to PostgreSQL that can be cut: all at once, or just before or just after a commit."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Cut = Literal["before", "after"]
COMMIT = b"COMMIT"
BYTES = 65_536


class Proxy:
    """Passes bytes between a port of its own and PostgreSQL's socket.

    Attributes:
        port: where it listens.
        commits: how many went through.
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
        """Ends all connections and listens no more."""
        _end(self._listening)
        self._thread.join()
        self._listening.close()
        self.stop()

    def stop(self) -> None:
        """Ends all connections, and new ones as soon as they come, as a server does that is being restarted."""
        with self._lock:
            self._down = True
            for connection in self._connections:
                _end(connection)

    def resume(self) -> None:
        """Takes connections again."""
        self._down = False

    def cut(self, when: Cut, commits: int = 1) -> None:
        """Ends a connection at the first commit from now on, or a later one, once.

        "before": the commit is not passed on. "after": PostgreSQL commits, and nobody hears of it.
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
                threading.Thread(target=self._pass_on, args=(client, server)).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        answers = threading.Thread(target=_pump, args=(server, client))
        answers.start()
        with suppress(OSError):
            while data := client.recv(BYTES):
                cut = self._reached(data.count(COMMIT))
                if cut == "after":
                    _end(client)
                if cut != "before":
                    server.sendall(data)
                if cut is not None:
                    break
        with suppress(OSError):
            # Answers still come back; PostgreSQL commits what it has read.
            server.shutdown(socket.SHUT_WR)
        answers.join()
        with self._lock:
            self._connections -= {client, server}
        client.close()
        server.close()

    def _reached(self, commits: int) -> Cut | None:
        self.commits += commits
        if self._cut is None or self.commits < self._cut[0]:
            return None
        (_, when), self._cut = self._cut, None
        return when


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(BYTES):
            target.sendall(data)
    _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """Opens a wire to PostgreSQL's socket."""
    opened = Proxy(target)
    try:
        yield opened
    finally:
        opened.close()
