"""Slow clients: they hold a connection for as long as the server allows, and reconnect when it is closed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stranger:
    """A request, and the bytes that follow it one by one; what is answered is never read.

    Attributes:
        head: what is sent at once.
        drip: what is sent of a body, a byte a turn; empty for a slow reader.
    """

    head: bytes
    drip: bytes = b""


def slow_body(target: str, headers: str = "", begun: str = "", kind: str = "application/json") -> Stranger:
    """A body that arrives byte by byte."""
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 10000\r\n"
    return Stranger(f"{head}{headers}\r\n{begun}".encode(), b" ")


def slow_image(target: str, headers: str = "", name: str = "image") -> Stranger:
    """An image in a form that arrives byte by byte."""
    begun = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
    return slow_body(target, headers, begun, "multipart/form-data; boundary=b")


def slow_reader(target: str, headers: str = "") -> Stranger:
    """A request whose answer is not read."""
    return Stranger(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())


@dataclass
class Crowd:
    """Slow clients of one server, each on a connection of its own.

    Attributes:
        cut_off: how many connections the server has closed so far.
    """

    port: int
    strangers: list[Stranger]
    cut_off: int = 0
    _open: dict[int, socket.socket] = field(default_factory=dict)

    def turn(self) -> None:
        """Has each client send a byte more, or reconnect if its connection was closed."""
        for at, stranger in enumerate(self.strangers):
            if at not in self._open:
                self._come(at, stranger)
            elif self._ended(at, stranger):
                self._open.pop(at).close()
                self.cut_off += 1
                self._come(at, stranger)

    def leave(self) -> None:
        """Closes all connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _come(self, at: int, stranger: Stranger) -> None:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        with suppress(OSError):
            connection.connect(("127.0.0.1", self.port))
            connection.sendall(stranger.head)
            self._open[at] = connection
            return
        connection.close()

    def _ended(self, at: int, stranger: Stranger) -> bool:
        connection = self._open[at]
        connection.setblocking(False)
        try:
            if stranger.drip:
                connection.send(stranger.drip)
                # A response, or the connection's end: the request is over.
                return connection.recv(65_536) is not None
            return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) or _hung_up(connection)
        except BlockingIOError:
            return False
        except OSError:
            return True


def _hung_up(connection: socket.socket) -> bool:
    """Tells whether the other end has closed a connection of which nothing was read."""
    tcp_info_state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    established = 1
    return tcp_info_state != established


@contextmanager
def crowd(port: int, strangers: list[Stranger], every_s: float = 0.5) -> Iterator[Crowd]:
    """Keeps slow clients connected for the length of the block."""
    ending, there = threading.Event(), Crowd(port, strangers)

    def insist() -> None:
        while not ending.wait(every_s):
            there.turn()

    there.turn()
    thread = threading.Thread(target=insist)
    thread.start()
    try:
        yield there
    finally:
        ending.set()
        thread.join()
        there.leave()
