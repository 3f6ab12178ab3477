"""What is known of every request: its id, how it was answered and how long that took; in log, metrics and traces.

The id is that of the header X-Request-ID where a proxy or a program sends one that can be used, and made here
otherwise; the answer carries it, and so does every line that is logged meanwhile. An error that nobody foresaw is
answered here, so that its answer is like any other.

A client that disconnects before its answer begins is no error of the service: its request is logged and counted as 499,
whatever the application makes of the missing rest of a body.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.admission.body_limit import ALWAYS
from app.api.middleware.request_id import HEADER, usable_id
from app.api.problems import PROBLEM_CODE, bug_response
from app.common.escaping import escape_controls
from app.observability.log_format import ABOUT, REQUEST_ID
from app.observability.metrics import OTHER, Metrics

if TYPE_CHECKING:
    # Whoever traces nothing need not have OpenTelemetry.
    from app.observability.spans import RequestSpan, Tracing

log = logging.getLogger(__name__)

# The client disconnected before its answer began; the number is nginx's.
DISCONNECTED = 499


@dataclass
class _Answer:
    """What is known of an answer so far."""

    status: int = DISCONNECTED
    started: bool = False
    disconnected: bool = False

    def received(self, message: Message) -> None:
        """Notes that the client disconnected, if it did before the answer began."""
        self.disconnected |= message["type"] == "http.disconnect" and not self.started

    def sent(self, message: Message) -> None:
        """Notes the status of an answer that there is a client for."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = DISCONNECTED if self.disconnected else message["status"]


class Observed:
    """Passes requests on, and tells what became of them."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: "Tracing | None" = None) -> None:
        self._app, self._metrics, self._tracing = app, metrics, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, answer = usable_id(Headers(scope=scope).get(HEADER)), _Answer()

        async def noted() -> Message:
            message = await receive()
            answer.received(message)
            return message

        async def marked(message: Message) -> None:
            answer.sent(message)
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with self._watched(scope, request_id, answer):
            try:
                await self._app(scope, noted, marked)
            except ClientDisconnect:
                pass  # and no error: the status says it
            except Exception as error:
                log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
                if answer.started:
                    # Half of the answer is out, so only the connection's end can say that something is wrong.
                    raise
                await bug_response()(scope, receive, marked)

    @contextmanager
    def _watched(self, scope: Scope, request_id: str, answer: _Answer) -> Iterator[None]:
        begun = time.perf_counter()
        with self._traced(scope) as span, self._metrics.request(), about(request_id, span):
            try:
                yield
            finally:
                seconds, route = time.perf_counter() - begun, route_of(scope)
                self._metrics.answered(scope["method"], route, answer.status, seconds)
                code = scope.get("state", {}).get(PROBLEM_CODE)
                if code is not None and not answer.disconnected:
                    self._metrics.refused_request(code)
                if span is not None:
                    span.answered(scope["method"], route, answer.status)
                log_request(scope, route, answer.status, seconds)

    def _traced(self, scope: Scope) -> "AbstractContextManager[RequestSpan | None]":
        if self._tracing is None or scope["path"] in ALWAYS:
            return nullcontext()
        return self._tracing.request(scope)


@contextmanager
def about(request_id: str, span: "RequestSpan | None") -> Iterator[None]:
    """Has every line of the log say to which request it belongs, for the length of the block."""
    known = {REQUEST_ID: request_id} | ({"trace_id": span.trace_id} if span is not None else {})
    before = ABOUT.set(known)
    try:
        yield
    finally:
        ABOUT.reset(before)


def route_of(scope: Scope) -> str:
    """Returns a request's path with the names of its parameters: of few values, whoever asks for whatever."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "/web" if scope["path"].startswith("/web/") else OTHER


def log_request(scope: Scope, route: str, status: int, seconds: float) -> None:
    """Writes a line for a request; what is asked every few seconds and is well goes unmentioned."""
    level = logging.DEBUG if scope["path"] in ALWAYS and status < HTTPStatus.BAD_REQUEST else logging.INFO
    host, port = scope.get("client") or ("-", 0)
    path, query = _text(scope.get("raw_path") or scope["path"].encode()), _text(scope["query_string"])
    line = f"{path}?{query}" if query else path
    fields = {
        "client": host,
        "method": scope["method"],
        "path": path,
        "query": query,
        "route": route,
        "status": status,
        "duration_ms": round(1000 * seconds, 3),
    }
    words = '%s:%s - "%s %s" %d in %.1f ms'
    log.log(level, words, host, port, scope["method"], line, status, 1000 * seconds, extra={"fields": fields})


def _text(raw: bytes) -> str:
    """Returns bytes of an address as text, with control characters escaped."""
    return escape_controls(raw.decode("latin-1"))
