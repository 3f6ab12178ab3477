"""HTTP as uvicorn speaks it, with limits of time and size for connections and the heads of requests.

Uvicorn waits for a head and for a reader as long as they take, and keeps as many headers, pipelined requests and
connections as are sent.
"""

import asyncio
import logging
from http import HTTPStatus
from time import monotonic
from typing import NoReturn, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.admission.connections import LIMITS, ConnectionLimits
from app.api.admission.slow_readers import SlowReader
from app.api.middleware.request_id import HEADER, new_id
from app.api.problem_codes import ProblemCode
from app.api.problems import problem_response

log = logging.getLogger(__name__)

HEAD_SECONDS, HEAD_BYTES, HEADERS = 10.0, 65_536, 200
# Requests that a client may send ahead of the responses.
PIPELINED = 8


class _RefusedError(Exception):
    """Ends the parsing of what cannot be accepted; the text says why."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request's head takes too long to arrive, or is too large.

    So is a connection that was answered before its request was complete and goes on sending, one whose client does
    not read, and, past the number of connections, the one that has been idle longest.
    """

    _patience: asyncio.TimerHandle | None = None
    _head_bytes: int | None = 0
    _refusal: str | None = None
    _reader: SlowReader
    idle_since: float = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts waiting for a first request."""
        # A request that was sent ahead begins inside the one before it, whose context variables, its caller among
        # them, are not its own.
        self.config.reset_contextvars = True
        super().connection_made(cast("asyncio.Transport", transport))
        limits: ConnectionLimits = self.app_state[LIMITS]
        self._reader, self.idle_since = SlowReader(self.transport, limits.rate), monotonic()
        self._wait()
        if len(self.connections) > limits.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops waiting."""
        self._stop_waiting()
        self._reader.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what arrives while a head is incomplete."""
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._head_bytes = None
                self.send_400_response("The head of the request, its address included, is too large.")

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no request that anything else could answer."""
        msg, self._refusal = self._refusal or msg, None
        if self._answering:
            # In the middle of a response another one would be taken for a part of it.
            self.transport.close()
            return
        problem = problem_response(HTTPStatus.BAD_REQUEST, msg, ProblemCode.BAD_REQUEST)
        request_id = new_id()
        log.warning("a request that cannot be read: %s [%s]", msg, request_id)
        own = [(HEADER.lower().encode(), request_id.encode()), (b"connection", b"close")]
        headers = [*self.server_state.default_headers, *problem.raw_headers, *own]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers), b"", b""]
        self.transport.write(b"\r\n".join(lines) + problem.body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Starts waiting for the rest of a head."""
        if len(self.pipeline) >= PIPELINED:
            self._refuse("Too many requests were sent ahead of their responses.")
        super().on_message_begin()
        self._head_bytes = 0
        self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts headers, also those of a head that arrives at once."""
        super().on_header(name, value)
        if len(self.headers) > HEADERS:
            self._refuse("The head of the request has too many headers.")

    def on_headers_complete(self) -> None:
        """Stops waiting: the body has bounds of its own."""
        self._head_bytes = None
        self._stop_waiting()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Waits for what is left of a body that nobody wants: hanging up at once would lose the answer."""
        self.idle_since = monotonic()
        if self.cycle.more_body:
            self._wait()
        if self.transport.get_write_buffer_size():
            self._reader.watch()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Watches whether the client takes what waits to be sent."""
        super().pause_writing()
        self._reader.watch()

    def resume_writing(self) -> None:
        """Counts what the client has taken."""
        self._reader.drained()
        super().resume_writing()

    def on_message_complete(self) -> None:
        """Waits for the next head, where the answer to this request has gone out long ago."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self._stop_waiting()
            self._wait()

    def shutdown(self) -> None:
        """Lets jobs, and the streams of those who watch them, end now: the server waits for streams before the rest."""
        if (jobs := self.app_state.get("jobs")) is not None:
            jobs.runner.end()
        super().shutdown()

    @property
    def _answering(self) -> bool:
        return bool(self.pipeline) or (not self.idle and self.cycle.response_started)

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        """Closes the connection that has been idle longest."""
        others = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self]
        idle = [one for one in others if one.idle and not one.transport.get_write_buffer_size()]
        min(idle, key=lambda one: one.idle_since, default=self).transport.abort()

    def _refuse(self, reason: str) -> NoReturn:
        self._refusal = reason
        raise _RefusedError(reason)

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
