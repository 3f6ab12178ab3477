"""Prometheus metrics of one process."""

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Seconds: a fast machine decodes in one millisecond, an exhaustive search over millions takes one second.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What this process counts; one a application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._searches = Counter("lookalike_searches", "Searches answered.", ["mode"], registry=self.registry)
        self._stages = Histogram(
            "lookalike_search_stage_seconds",
            "Time of each stage of a search.",
            ["stage"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._added = Counter("lookalike_index_items", "Pictures by outcome.", ["status"], registry=self.registry)
        self._images = Gauge("lookalike_images", "Pictures that can be found.", registry=self.registry)

    def count_search(self, mode: str, timings_ms: Mapping[str, float]) -> None:
        """Counts a search and its stages."""
        self._searches.labels(mode).inc()
        for stage, milliseconds in timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1000)

    def count_added(self, statuses: Sequence[str]) -> None:
        """Counts what became of some pictures."""
        for status, count in Tally(statuses).items():
            self._added.labels(status).inc(count)

    def render(self, images: int) -> bytes:
        """Returns everything in Prometheus' text format."""
        self._images.set(images)
        return generate_latest(self.registry)


async def get_metrics(request: Request) -> Metrics:
    """Returns the application's metrics."""
    return cast("Metrics", request.app.state.metrics)


MetricsDep = Annotated[Metrics, Depends(get_metrics)]
