"""Prometheus metrics: what this server has done since it started, counted by all of its worker processes together.

Where there are several, each counts in files of its own in one folder (`metrics_files.py`), and whichever is asked
adds all of them up. What is, rather than what was done, is in `gauges.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.api.problem_codes import image_code
from app.observability.hooks import Observer, Work
from app.observability.multiprocess_metrics import forget_the_dead

# Seconds: a fast machine decodes in one millisecond, an exhaustive search over millions takes one second.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PICTURES = (1, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000)
# What a label may say. Anything else counts as `other`: labels that anybody could make up would have no end.
OTHER = "other"
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST")
STATUSES = ("created", "updated", "unchanged", "rejected")


class Metrics(Observer):
    """What this process counts; one a application.

    Args:
        folder: where all processes of the server count together; None where this one is alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.registry, self._folder = CollectorRegistry(), folder
        self._answered = self._counter("http_requests", "Requests answered.", "method", "route", "status")
        self._took = self._histogram(
            "http_request_duration_seconds",
            "Time from the head of a request to the end of its response.",
            SECONDS,
            "method",
            "route",
        )
        self._refusals = self._counter("http_errors", "Error responses, by code.", "code")
        self._inside = Gauge(
            "lookalike_http_requests_in_progress",
            "Requests under way.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._pictures_refused = self._counter("images_rejected", "Images that were rejected, by code.", "code")
        self._searches = self._counter("searches", "Searches answered.", "mode")
        self._search = self._histogram("search_duration_seconds", "Time of a search.", SECONDS, "mode")
        self._search_stages = self._histogram(
            "search_stage_duration_seconds", "Time of each stage of a search.", SECONDS, "stage"
        )
        self._candidates = self._histogram("search_candidates", "Candidates in the pool of a search.", PICTURES, "mode")
        self._items = self._counter("ingest_images", "Images that were sent to be added, by outcome.", "status")
        self._addition = self._histogram(
            "ingest_batch_duration_seconds", "Time to add the images of one commit.", SECONDS
        )
        self._addition_stages = self._histogram(
            "ingest_stage_duration_seconds", "Time of each stage of adding images.", SECONDS, "stage"
        )

    @contextmanager
    def request(self) -> Iterator[None]:
        """Counts a request as under way, for the length of the block."""
        self._inside.inc()
        try:
            yield
        finally:
            self._inside.dec()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request that was answered; `route` is a path with its parameters' names."""
        method = method if method in METHODS else OTHER
        self._answered.labels(method, route, str(status)).inc()
        self._took.labels(method, route).observe(seconds)

    def refused_request(self, code: str) -> None:
        """Counts an error response by its `ProblemCode`."""
        self._refusals.labels(code).inc()

    def refused(self, code: str) -> None:
        """Counts a picture that cannot be used."""
        self._pictures_refused.labels(image_code(code)).inc()

    def ended(self, work: Work) -> None:
        """Counts a search or an addition, and its stages."""
        if work.name == "search":
            self._count_search(work, str(work.facts["mode"]))
        elif work.name == "ingest":
            self._count_addition(work)

    def render(self) -> bytes:
        """Returns in Prometheus' text format what all processes counted."""
        if self._folder is None:
            return generate_latest(self.registry)
        forget_the_dead(self._folder)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._folder))
        return generate_latest(together)

    def _count_search(self, work: Work, mode: str) -> None:
        self._searches.labels(mode).inc()
        self._search.labels(mode).observe(work.total()["total"] / 1000)
        self._candidates.labels(mode).observe(int(work.facts["candidates"]))
        for stage, milliseconds in work.stages.items():
            self._search_stages.labels(stage).observe(milliseconds / 1000)

    def _count_addition(self, work: Work) -> None:
        for status in STATUSES:
            self._items.labels(status).inc(int(work.facts.get(status, 0)))
        self._addition.observe(work.total()["total"] / 1000)
        for stage, milliseconds in work.stages.items():
            self._addition_stages.labels(stage).observe(milliseconds / 1000)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"lookalike_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"lookalike_{name}", about, labels, registry=self.registry, buckets=buckets)
