"""Disconnects clients that take their responses too slowly, or not at all."""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress

from app.api.admission.data_rate import DataRate, Pace

# Bytes that the kernel takes beyond what is on its way to the client. Without this it takes megabytes, of every
# connection, and keeps them for minutes after the connection was closed.
UNSENT = 131_072
_AT_ONCE = struct.pack("ii", 1, 0)
# Seconds between two looks at how much a client has taken.
EVERY_S = 1.0


class SlowReader:
    """Watches one connection for as long as something waits to be sent over it.

    What the client has taken is what has left both the connection's buffer and the kernel's, which may hold
    megabytes.
    """

    def __init__(self, transport: asyncio.Transport, rate: DataRate) -> None:
        self._transport, self._pace = transport, Pace(rate)
        _set(transport, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent, self._looked = 0, 0.0

    def watch(self) -> None:
        """Begins to watch: something waits to be sent."""
        self._unsent, self._looked = self._left_to_send(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(EVERY_S, self._look)

    def drained(self) -> None:
        """Counts what the client has taken, before more is sent."""
        self._count()

    def stop(self) -> None:
        """Ends watching: the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        self._count()
        if self._pace.left_s <= 0:
            # The kernel forgets what is unsent, which it would otherwise offer to the client for minutes.
            _set(self._transport, socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._transport.abort()
        elif self._transport.get_write_buffer_size():
            self._timer = self._loop.call_later(EVERY_S, self._look)

    def _count(self) -> None:
        unsent, now = self._left_to_send(), self._loop.time()
        self._pace.waited(now - self._looked, max(self._unsent - unsent, 0))
        self._unsent, self._looked = unsent, now

    def _left_to_send(self) -> int:
        return self._transport.get_write_buffer_size() + _in_kernel(self._transport)


def _set(transport: asyncio.Transport, level: int, option: int, value: int | bytes) -> None:
    """Sets an option of a socket, where the transport has one and its kind knows the option."""
    connection: socket.socket = transport.get_extra_info("socket")
    with suppress(AttributeError, OSError):
        connection.setsockopt(level, option, value)


def _in_kernel(transport: asyncio.Transport) -> int:
    """Returns the bytes that the kernel has and the client has not acknowledged; 0 where it does not say."""
    connection = transport.get_extra_info("socket")
    with suppress(AttributeError, OSError, ValueError):
        found: int = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
        return found
    return 0
