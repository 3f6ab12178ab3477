"""OpenTelemetry spans of requests, searches, ingests and their stages; the only module that imports OpenTelemetry.

A span's parent is the current span of its context: the search for a stage, the request for a search, and for a request
the remote span in its `traceparent` header (W3C Trace Context).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers
from starlette.types import Scope

from app.errors import ImageRejectedError, ModelSwitchedError, NotFoundError
from app.observability.hooks import Observer, Operation

_NAME = "lookalike"
_SERVER_ERRORS = 500


class RequestSpan:
    """The span of a request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def trace_id(self) -> str:
        """The trace id, 32 hexadecimal digits."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def set_response(self, method: str, route: str, status: int) -> None:
        """Set route and status of the response; 5xx is an error, 4xx is not."""
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= _SERVER_ERRORS:
            self._span.set_status(StatusCode.ERROR)


class Tracing(Observer):
    """Observer that creates spans with a tracer provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_NAME, version(_NAME))

    @contextmanager
    def request(self, scope: Scope) -> Iterator[RequestSpan]:
        """Start the span of a request for the length of the block."""
        parent = extract(dict(Headers(scope=scope)))
        attributes = {"http.request.method": scope["method"], "url.path": scope["path"], "url.scheme": scope["scheme"]}
        with self._tracer.start_as_current_span(
            scope["method"], parent, kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            yield RequestSpan(span)

    @contextmanager
    def span(self, name: str, /) -> Iterator[None]:
        """Start the span of an operation or a stage."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except (ImageRejectedError, NotFoundError, ModelSwitchedError):
                # Invalid requests, and operations that are repeated after a model switch, are not errors.
                raise
            except Exception as error:
                span.record_exception(error)
                span.set_status(StatusCode.ERROR)
                raise

    def on_success(self, work: Operation) -> None:
        """Set the operation's facts as span attributes."""
        trace.get_current_span().set_attributes({f"{_NAME}.{name}": value for name, value in work.attributes.items()})

    def close(self) -> None:
        """Flush pending spans, within the SDK's timeout."""
        self._provider.shutdown()


def open_provider(exporter: str) -> TracerProvider:
    """Return a tracer provider that exports spans: `otlp` to a collector, `console` to stdout.

    The SDK reads its own environment variables, such as the collector's address.
    """
    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
    return provider


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _resource() -> Resource:
    """Return the resource attributes; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override them."""
    own: dict[str, str | int] = {"service.name": _NAME, "service.version": version(_NAME), "process.pid": os.getpid()}
    return Resource.create(own).merge(OTELResourceDetector().detect())
