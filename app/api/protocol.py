"""HTTP as uvicorn speaks it, with an end to patience for the head of a request.

Uvicorn waits for a head as long as it takes to come, and keeps as many headers as are sent.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.problems import problem_response
from app.api.request_id import HEADER, new_id

log = logging.getLogger(__name__)

HEAD_SECONDS, HEAD_BYTES = 10.0, 65_536


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request's head takes too long to arrive, or too many bytes.

    So does a connection that was answered before its request was complete, and goes on sending.
    """

    _patience: asyncio.TimerHandle | None = None
    _head_bytes: int | None = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts waiting for a first request."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops waiting."""
        self._stop_waiting()
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
        problem = problem_response(HTTPStatus.BAD_REQUEST, msg, "bad_request")
        request_id = new_id()
        log.warning("a request that cannot be read: %s [%s]", msg, request_id)
        own = [(HEADER.lower().encode(), request_id.encode()), (b"connection", b"close")]
        headers = [*self.server_state.default_headers, *problem.raw_headers, *own]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers), b"", b""]
        self.transport.write(b"\r\n".join(lines) + problem.body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Starts waiting for the rest of a head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._wait()

    def on_headers_complete(self) -> None:
        """Stops waiting: the body has bounds of its own."""
        self._head_bytes = None
        self._stop_waiting()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Waits for what is left of a body that nobody wants: hanging up at once would lose the answer."""
        if self.cycle.more_body:
            self._wait()
        super().on_response_complete()

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

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
