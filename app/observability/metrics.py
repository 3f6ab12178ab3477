"""Prometheus counters and histograms of requests, searches and ingests, summed over all worker processes.

With several workers each process counts in its own files in a shared folder (`multiprocess_metrics.py`), and the one
that serves /metrics sums them. Gauges of the current state are in `process_gauges.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.api.problem_codes import image_code
from app.observability.hooks import Observer, Operation
from app.observability.multiprocess_metrics import remove_dead_gauges

# Buckets in seconds: decoding takes a millisecond on a fast machine, exhaustive search over millions a second.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000)
# Allowed values of the label `method`; others count as `other`, because clients could create unlimited label values.
OTHER_LABEL = "other"
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST")
STATUSES = ("created", "updated", "unchanged", "rejected")


class Metrics(Observer):
    """Counters and histograms of this process, one instance per application.

    Args:
        folder: shared by all processes of the server; None for a single process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.registry, self._folder = CollectorRegistry(), folder
        self._responses = self._counter("http_requests", "Requests answered.", "method", "route", "status")
        self._request_duration = self._histogram(
            "http_request_duration_seconds",
            "Time from the headers of a request to the end of its response.",
            SECONDS,
            "method",
            "route",
        )
        self._errors = self._counter("http_errors", "Error responses, by code.", "code")
        self._in_progress = Gauge(
            "lookalike_http_requests_in_progress",
            "Requests under way.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._images_rejected = self._counter("images_rejected", "Images that were rejected, by code.", "code")
        self._searches = self._counter("searches", "Searches answered.", "mode")
        self._search_duration = self._histogram("search_duration_seconds", "Time of a search.", SECONDS, "mode")
        self._search_stages = self._histogram(
            "search_stage_duration_seconds", "Time of each stage of a search.", SECONDS, "stage"
        )
        self._candidates = self._histogram("search_candidates", "Candidates in the pool of a search.", IMAGES, "mode")
        self._ingest_images = self._counter("ingest_images", "Images that were sent to be added, by outcome.", "status")
        self._ingest_duration = self._histogram(
            "ingest_batch_duration_seconds", "Time to add the images of one commit.", SECONDS
        )
        self._ingest_stages = self._histogram(
            "ingest_stage_duration_seconds", "Time of each stage of adding images.", SECONDS, "stage"
        )

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """Count a request as in progress for the length of the block."""
        self._in_progress.inc()
        try:
            yield
        finally:
            self._in_progress.dec()

    def observe_response(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response and observe its duration; `route` is a path template."""
        method = method if method in METHODS else OTHER_LABEL
        self._responses.labels(method, route, str(status)).inc()
        self._request_duration.labels(method, route).observe(seconds)

    def count_error(self, code: str) -> None:
        """Count an error response by its `ProblemCode`."""
        self._errors.labels(code).inc()

    def on_rejected(self, code: str) -> None:
        """Count a rejected image."""
        self._images_rejected.labels(image_code(code)).inc()

    def on_success(self, work: Operation) -> None:
        """Count a search or an ingest, and observe its stages."""
        if work.name == "search":
            self._count_search(work, str(work.attributes["mode"]))
        elif work.name == "ingest":
            self._count_ingest(work)

    def render(self) -> bytes:
        """Return the metrics of all processes in Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self.registry)
        remove_dead_gauges(self._folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))
        return generate_latest(registry)

    def _count_search(self, work: Operation, mode: str) -> None:
        self._searches.labels(mode).inc()
        self._search_duration.labels(mode).observe(work.timings()["total"] / 1000)
        self._candidates.labels(mode).observe(int(work.attributes["candidates"]))
        for stage, milliseconds in work.stages.items():
            self._search_stages.labels(stage).observe(milliseconds / 1000)

    def _count_ingest(self, work: Operation) -> None:
        for status in STATUSES:
            self._ingest_images.labels(status).inc(int(work.attributes.get(status, 0)))
        self._ingest_duration.observe(work.timings()["total"] / 1000)
        for stage, milliseconds in work.stages.items():
            self._ingest_stages.labels(stage).observe(milliseconds / 1000)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"lookalike_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"lookalike_{name}", documentation, labels, registry=self.registry, buckets=buckets)
