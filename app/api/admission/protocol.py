"""uvicorn's HTTP protocol with timeouts and size limits for connections and request heads.

uvicorn has no timeout for heads and slow readers, and no limit on the number of headers, pipelined requests and
connections.
"""

import asyncio
import logging
from http import HTTPStatus
from time import monotonic
from typing import NoReturn, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.admission.connections import LIMITS, ConnectionLimits
from app.api.admission.slow_readers import SlowReaderMonitor
from app.api.middleware.request_id import HEADER, new_id
from app.api.problem_codes import ProblemCode
from app.api.problems import problem_response

log = logging.getLogger(__name__)

HEAD_TIMEOUT_S, MAX_HEAD_BYTES, MAX_HEADERS = 10.0, 65_536, 200
# Requests that a client may send before the first response.
MAX_PIPELINED = 8


class _RejectedError(Exception):
    """Stops the parser at a request that is rejected; the text is the reason."""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP protocol that closes connections whose request head is too slow or too large.

    It also closes a connection that keeps sending after its response, one whose client does not read, and, above the
    connection limit, the one that has been idle longest.
    """

    _timer: asyncio.TimerHandle | None = None
    _head_bytes: int | None = 0
    _rejection: str | None = None
    _slow_reader: SlowReaderMonitor
    idle_since: float = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer for the first request head, and enforce the connection limit."""
        # A pipelined request starts within the task of the one before it, and must not inherit its context variables,
        # such as its caller.
        self.config.reset_contextvars = True
        super().connection_made(cast("asyncio.Transport", transport))
        limits: ConnectionLimits = self.app_state[LIMITS]
        self._slow_reader, self.idle_since = SlowReaderMonitor(self.transport, limits.rate), monotonic()
        self._start_timer()
        if len(self.connections) > limits.max_connections:
            self._close_longest_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._cancel_timer()
        self._slow_reader.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of an incomplete head."""
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._head_bytes = None
                self.send_400_response("The request head, including the URL, is too large. Shorten it.")

    def send_400_response(self, msg: str) -> None:
        """Respond 400 to a request that cannot be parsed."""
        msg, self._rejection = self._rejection or msg, None
        if self._responding:
            # A response sent within another would be read as a part of it.
            self.transport.close()
            return
        problem = problem_response(HTTPStatus.BAD_REQUEST, msg, ProblemCode.BAD_REQUEST)
        request_id = new_id()
        log.warning("invalid request: %s [%s]", msg, request_id)
        extra = [(HEADER.lower().encode(), request_id.encode()), (b"connection", b"close")]
        headers = [*self.server_state.default_headers, *problem.raw_headers, *extra]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers), b"", b""]
        self.transport.write(b"\r\n".join(lines) + problem.body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Start the timer for the rest of a head."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self._reject("Too many pipelined requests. Wait for the responses.")
        super().on_message_begin()
        self._head_bytes = 0
        self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count headers, also those of a head that arrives at once."""
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._reject("The request has too many headers. Send fewer.")

    def on_headers_complete(self) -> None:
        """Stop the timer; bodies have their own limits."""
        self._head_bytes = None
        self._cancel_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Allow time for the rest of an unread body, because closing at once would lose the response."""
        self.idle_since = monotonic()
        if self.cycle.more_body:
            self._start_timer()
        if self.transport.get_write_buffer_size():
            self._slow_reader.start()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Start monitoring a client that does not read."""
        super().pause_writing()
        self._slow_reader.start()

    def resume_writing(self) -> None:
        """Record what the client has read."""
        self._slow_reader.record()
        super().resume_writing()

    def on_message_complete(self) -> None:
        """Start the timer for the next head, if this request's response is already complete."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self._cancel_timer()
            self._start_timer()

    def shutdown(self) -> None:
        """End jobs and their event streams first, because the server's shutdown waits for streams."""
        if (jobs := self.app_state.get("jobs")) is not None:
            jobs.runner.stop()
        super().shutdown()

    @property
    def _responding(self) -> bool:
        return bool(self.pipeline) or (not self.idle and self.cycle.response_started)

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    def _close_longest_idle(self) -> None:
        """Close the connection that has been idle longest."""
        others = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self]
        idle = [one for one in others if one.idle and not one.transport.get_write_buffer_size()]
        min(idle, key=lambda one: one.idle_since, default=self).transport.abort()

    def _reject(self, reason: str) -> NoReturn:
        self._rejection = reason
        raise _RejectedError(reason)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
