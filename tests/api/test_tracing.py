"""OpenTelemetry tracing: off by default; if enabled, spans of requests, searches and stages reach a collector."""

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from app.main import create_app
from app.observability.spans import Tracing, open_provider
from app.observability.tracing import open_tracing, selected_exporter, unsupported_reason
from app.settings import Settings
from tests.api.test_index import INVALID_IMAGE, add_images, random_image
from tests.conftest import open_with_fake

OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(settings: Settings, memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of a service with an in-memory span exporter."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr("app.main.open_tracing", lambda _: Tracing(provider))
    with TestClient(create_app(settings, open_with_fake), raise_server_exceptions=False) as client:
        yield client


def named(memory: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in memory.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def test_search_has_a_span_with_one_child_per_stage(traced: TestClient, memory: InMemorySpanExporter) -> None:
    add_images(traced, random_image(1), random_image(2))
    memory.clear()
    traced.post("/search", params={"mode": "hds"}, files={"image": random_image(1)})
    spans = named(memory)
    request, search = spans["POST /search"], spans["search"]
    assert request.kind is SpanKind.SERVER
    assert parent_of(search) == id_of(request)
    for stage in ("decode", "encode", "coarse", "fine", "catalogue"):
        assert parent_of(spans[stage]) == id_of(search), stage
    assert dict(search.attributes or {}) == {"lookalike.mode": "hds", "lookalike.candidates": 2, "lookalike.matches": 2}
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "url.path": "/search",
        "url.scheme": "http",
        "http.route": "/search",
        "http.response.status_code": 200,
    }


def test_ingest_has_a_span_with_one_child_per_stage(traced: TestClient, memory: InMemorySpanExporter) -> None:
    add_images(traced, random_image(1), INVALID_IMAGE)
    spans = named(memory)
    addition = spans["ingest"]
    assert parent_of(addition) == id_of(spans["POST /index"])
    for stage in ("decode", "store", "encode", "commit"):
        assert parent_of(spans[stage]) == id_of(addition), stage
    assert dict(addition.attributes or {}) == {"lookalike.created": 1, "lookalike.rejected": 1}


def test_request_joins_the_trace_of_its_traceparent(traced: TestClient, memory: InMemorySpanExporter) -> None:
    traced.get("/images", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (span,) = memory.get_finished_spans()
    assert context_of(span).trace_id == int(TRACE, 16)
    assert parent_of(span) == int(PARENT, 16)


def test_searches_of_a_batch_are_children_of_one_request_span(traced: TestClient, memory: InMemorySpanExporter) -> None:
    traced.post("/search/batch", files=[("images", random_image(number)) for number in range(3)])
    spans = memory.get_finished_spans()
    (request,) = [span for span in spans if span.kind is SpanKind.SERVER]
    assert [parent_of(span) for span in spans if span.name == "search"] == [id_of(request)] * 3


def test_only_server_errors_set_the_span_status_to_error(
    traced: TestClient, memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced.get("/images/17")
    (missing,) = memory.get_finished_spans()
    assert (missing.name, missing.status.status_code) == ("GET /images/{image_id}", StatusCode.UNSET)
    memory.clear()
    monkeypatch.setattr("app.catalogue.queries.get_image", lambda *_: 1 / 0)
    assert traced.get("/images/17").status_code == 500
    (failed,) = memory.get_finished_spans()
    assert failed.status.status_code is StatusCode.ERROR


def test_client_errors_set_no_span_status_to_error(
    traced: TestClient, memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert traced.post("/search", files={"image": INVALID_IMAGE}).status_code == 422
    spans = named(memory)
    for name in ("decode", "search", "POST /search"):
        assert spans[name].status.status_code is StatusCode.UNSET, name
        assert not spans[name].events, name
    memory.clear()
    monkeypatch.setattr("app.search.ranking.coarse", lambda *_: 1 / 0)
    assert traced.post("/search", files={"image": random_image(1)}).status_code == 500
    for name in ("coarse", "search", "POST /search"):
        assert named(memory)[name].status.status_code is StatusCode.ERROR, name


def test_resource_attributes_come_from_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_provider("console").resource.attributes["service.name"] == "lookalike"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=ours,deployment.environment=shop")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "finder")
    found = open_provider("console").resource.attributes
    assert (found["service.name"], found["service.version"]) == ("finder", "ours")
    assert found["deployment.environment"] == "shop"


def test_health_checks_are_not_traced(traced: TestClient, memory: InMemorySpanExporter) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        traced.get(path)
    assert memory.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("environment", "exporter"),
    [
        ({}, None),
        ({OTLP: ""}, None),
        ({OTLP: "http://127.0.0.1:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, "otlp"),
        ({OTLP: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({OTLP: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_SERVICE_NAME": "shop"}, None),
    ],
)
def test_otel_variables_select_the_exporter(environment: Mapping[str, str], exporter: str | None) -> None:
    assert selected_exporter(environment) == exporter


def test_unsupported_exporter_is_logged_and_tracing_stays_off(caplog: pytest.LogCaptureFixture) -> None:
    assert "jaeger" in str(unsupported_reason("jaeger", {}))
    assert open_tracing({OTLP: "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is None
    assert "only http/protobuf is supported" in caplog.text


WITHOUT = """
import sys
{hide}
from app.main import create_app
from app.settings import Settings
create_app(Settings(_env_file=None))
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))))
"""


def modules_of(hide: str, **variables: str) -> tuple[str, str]:
    command = [sys.executable, "-c", WITHOUT.format(hide=hide)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | variables, timeout=120)
    return done.stdout.strip(), done.stderr


def test_sdk_is_not_imported_without_otel_variables() -> None:
    assert modules_of("") == ("[]", "")


def test_missing_otel_extra_is_logged_with_its_install_command() -> None:
    hide = "sys.modules['opentelemetry.sdk'] = None"
    _, stderr = modules_of(hide, **{OTLP: "http://127.0.0.1:4318"})
    assert "pip install 'lookalike[otel]'" in stderr


class Collector:
    """Minimal OTLP collector that stores received spans."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()

    def take(self, body: bytes) -> None:
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            self.services |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
            for scope in resource.scope_spans:
                self.spans += scope.spans


@contextmanager
def collecting() -> Iterator[tuple[str, Collector]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", collector
        server.shutdown()


def test_spans_reach_a_collector(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as (url, collector):
        monkeypatch.setenv(OTLP, url)
        with TestClient(create_app(settings, open_with_fake)) as client:
            client.post("/search", files={"image": random_image(1)})
        # Shutdown flushes pending spans.
        assert {"POST /search", "search", "decode", "encode", "coarse", "fine"} <= {s.name for s in collector.spans}
        assert collector.services == {"lookalike"}


@pytest.mark.slow
def test_unreachable_collector_does_not_affect_searches_or_delay_shutdown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OTLP, "http://127.0.0.1:9")
    begun = time.monotonic()
    with TestClient(create_app(settings, open_with_fake)) as client:
        assert client.post("/search", files={"image": random_image(1)}).status_code == 200
    assert time.monotonic() - begun < 20
