"""Slow clients: they hold a connection for as long as the server allows, and reconnect when it is closed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SlowClient:
    """A slow client: sends a request, then single bytes, and does not read the response.

    Attributes:
        head: the bytes sent at once.
        drip: the byte sent each turn; empty for a slow reader.
    """

    head: bytes
    drip: bytes = b""


def slow_body(target: str, headers: str = "", begun: str = "", kind: str = "application/json") -> SlowClient:
    """A client that sends a body byte by byte."""
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 10000\r\n"
    return SlowClient(f"{head}{headers}\r\n{begun}".encode(), b" ")


def slow_image(target: str, headers: str = "", name: str = "image") -> SlowClient:
    """A client that sends an image in a form byte by byte."""
    begun = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
    return slow_body(target, headers, begun, "multipart/form-data; boundary=b")


def slow_reader(target: str, headers: str = "") -> SlowClient:
    """A client that does not read the response."""
    return SlowClient(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())


@dataclass
class SlowClients:
    """Slow clients of one server, each on a connection of its own.

    Attributes:
        cut_off: the number of connections closed by the server so far.
    """

    port: int
    clients: list[SlowClient]
    cut_off: int = 0
    _open: dict[int, socket.socket] = field(default_factory=dict)

    def turn(self) -> None:
        """Let each client send another byte, or reconnect if its connection was closed."""
        for at, client in enumerate(self.clients):
            if at not in self._open:
                self._connect(at, client)
            elif self._ended(at, client):
                self._open.pop(at).close()
                self.cut_off += 1
                self._connect(at, client)

    def leave(self) -> None:
        """Close all connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _connect(self, at: int, client: SlowClient) -> None:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        with suppress(OSError):
            connection.connect(("127.0.0.1", self.port))
            connection.sendall(client.head)
            self._open[at] = connection
            return
        connection.close()

    def _ended(self, at: int, client: SlowClient) -> bool:
        connection = self._open[at]
        connection.setblocking(False)
        try:
            if client.drip:
                connection.send(client.drip)
                # A response, or the connection's end: the request is over.
                return connection.recv(65_536) is not None
            return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) or _hung_up(connection)
        except BlockingIOError:
            return False
        except OSError:
            return True


def _hung_up(connection: socket.socket) -> bool:
    """Whether the server has closed a connection, without reading from it."""
    tcp_info_state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    established = 1
    return tcp_info_state != established


@contextmanager
def connected(port: int, clients: list[SlowClient], every_s: float = 0.5) -> Iterator[SlowClients]:
    """Keep slow clients connected during the block."""
    stop, connections = threading.Event(), SlowClients(port, clients)

    def keep_busy() -> None:
        while not stop.wait(every_s):
            connections.turn()

    connections.turn()
    thread = threading.Thread(target=keep_busy)
    thread.start()
    try:
        yield connections
    finally:
        stop.set()
        thread.join()
        connections.leave()
