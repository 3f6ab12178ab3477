"""Disconnect clients that read their responses too slowly, or not at all."""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress

from app.api.admission.data_rate import DataRate, GracePeriod

# Bytes that the kernel buffers beyond what is in flight to the client. By default it buffers megabytes for every
# connection, and keeps them for minutes after the connection is closed.
UNSENT_LOW_WATERMARK = 131_072
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# Seconds between two checks of how much a client has read.
CHECK_INTERVAL_S = 1.0


class SlowReaderMonitor:
    """Aborts a connection whose client reads below a minimum rate.

    Bytes count as read when they have left both the connection's buffer and the kernel's, which may hold
    megabytes.
    """

    def __init__(self, transport: asyncio.Transport, rate: DataRate) -> None:
        self._transport, self._grace = transport, GracePeriod(rate)
        _set_option(transport, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOW_WATERMARK)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent, self._checked_at = 0, 0.0

    def start(self) -> None:
        """Start monitoring; called while data waits to be sent."""
        self._unsent, self._checked_at = self._unsent_bytes(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(CHECK_INTERVAL_S, self._check)

    def record(self) -> None:
        """Count what the client has read; called before more is sent."""
        unsent, now = self._unsent_bytes(), self._loop.time()
        self._grace.record(now - self._checked_at, max(self._unsent - unsent, 0))
        self._unsent, self._checked_at = unsent, now

    def stop(self) -> None:
        """Stop monitoring; called when the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        self.record()
        if self._grace.remaining_s <= 0:
            # With a zero linger time the kernel drops unsent data, which it would otherwise retransmit for minutes.
            _set_option(self._transport, socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        elif self._transport.get_write_buffer_size():
            self._timer = self._loop.call_later(CHECK_INTERVAL_S, self._check)

    def _unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() + _kernel_unsent_bytes(self._transport)


def _set_option(transport: asyncio.Transport, level: int, option: int, value: int | bytes) -> None:
    """Set a socket option, if the transport has a socket of a family that supports it."""
    connection: socket.socket = transport.get_extra_info("socket")
    with suppress(AttributeError, OSError):
        connection.setsockopt(level, option, value)


def _kernel_unsent_bytes(transport: asyncio.Transport) -> int:
    """Return the bytes in the kernel's buffer that the client has not acknowledged; 0 if unknown."""
    connection = transport.get_extra_info("socket")
    with suppress(AttributeError, OSError, ValueError):
        size: int = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
        return size
    return 0
