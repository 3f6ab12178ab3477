"""Request id, log line, metrics and trace span of every request.

The id is taken from the header X-Request-ID if it is valid, else generated; the response and every log line of the
request carry it. Unexpected exceptions become a 500 here, so that their responses have the id and are counted too.

A client that disconnects before its response begins is not an error of the service: its request is logged and counted
as 499, whatever the application does with an incomplete body.
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

from app.api.admission.body_limit import MONITORING_PATHS
from app.api.middleware.request_id import HEADER, valid_or_new_id
from app.api.paths import app_path
from app.api.problems import PROBLEM_CODE, internal_error_response
from app.common.escaping import escape_controls
from app.observability.log_format import LOG_CONTEXT, REQUEST_ID
from app.observability.metrics import OTHER_LABEL, Metrics

if TYPE_CHECKING:
    # OpenTelemetry is an optional dependency.
    from app.observability.spans import RequestSpan, Tracing

log = logging.getLogger(__name__)

# Status of a client that disconnected before its response began, as in nginx.
DISCONNECTED = 499


@dataclass
class _ResponseState:
    """State of a response."""

    status: int = DISCONNECTED
    started: bool = False
    disconnected: bool = False

    def received(self, message: Message) -> None:
        """Record a disconnect before the response began."""
        self.disconnected |= message["type"] == "http.disconnect" and not self.started

    def sent(self, message: Message) -> None:
        """Record the status of a response whose client is still connected."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = DISCONNECTED if self.disconnected else message["status"]


class RequestLogMiddleware:
    """Middleware that assigns request ids, and logs, counts and traces requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: "Tracing | None" = None) -> None:
        self._app, self._metrics, self._tracing = app, metrics, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application and record its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, response = valid_or_new_id(Headers(scope=scope).get(HEADER)), _ResponseState()

        async def receive_tracked() -> Message:
            message = await receive()
            response.received(message)
            return message

        async def send_tracked(message: Message) -> None:
            response.sent(message)
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with self._recorded(scope, request_id, response):
            try:
                await self._app(scope, receive_tracked, send_tracked)
            except ClientDisconnect:
                pass  # recorded as 499
            except Exception as error:
                log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
                if response.started:
                    # The status is sent already, so only closing the connection can signal the error.
                    raise
                await internal_error_response()(scope, receive, send_tracked)

    @contextmanager
    def _recorded(self, scope: Scope, request_id: str, response: _ResponseState) -> Iterator[None]:
        started = time.perf_counter()
        with self._traced(scope) as span, self._metrics.in_progress(), log_context(request_id, span):
            try:
                yield
            finally:
                seconds, route = time.perf_counter() - started, route_of(scope)
                self._metrics.observe_response(scope["method"], route, response.status, seconds)
                code = scope.get("state", {}).get(PROBLEM_CODE)
                if code is not None and not response.disconnected:
                    self._metrics.count_error(code)
                if span is not None:
                    span.set_response(scope["method"], route, response.status)
                log_request(scope, route, response.status, seconds)

    def _traced(self, scope: Scope) -> "AbstractContextManager[RequestSpan | None]":
        if self._tracing is None or app_path(scope) in MONITORING_PATHS:
            return nullcontext()
        return self._tracing.request(scope)


@contextmanager
def log_context(request_id: str, span: "RequestSpan | None") -> Iterator[None]:
    """Add the request's id, and its trace id if traced, to every log line of the block."""
    fields = {REQUEST_ID: request_id} | ({"trace_id": span.trace_id} if span is not None else {})
    before = LOG_CONTEXT.set(fields)
    try:
        yield
    finally:
        LOG_CONTEXT.reset(before)


def route_of(scope: Scope) -> str:
    """Return a request's route, such as `/images/{image_id}`, for metric labels with few distinct values."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "/web" if app_path(scope).startswith("/web/") else OTHER_LABEL


def log_request(scope: Scope, route: str, status: int, seconds: float) -> None:
    """Log a request; successful health checks and metrics are logged at DEBUG only."""
    level = logging.DEBUG if app_path(scope) in MONITORING_PATHS and status < HTTPStatus.BAD_REQUEST else logging.INFO
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
    template = '%s:%s - "%s %s" %d in %.1f ms'
    log.log(level, template, host, port, scope["method"], line, status, 1000 * seconds, extra={"fields": fields})


def _text(raw: bytes) -> str:
    """Decode bytes of a URL, with control characters escaped."""
    return escape_controls(raw.decode("latin-1"))
