"""Prometheus gauges of the current state: catalogue size, index lag, queue lengths, jobs and reindexing.

Each process updates its own gauges every second (`Gauges`), so that the process that serves /metrics has those of all.
Values from the database are read on each scrape (`Catalogue`).
"""

import logging
import shutil
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import QueuePool

from app.bootstrap import Service
from app.catalogue import index_versions, queries
from app.catalogue.index_versions import ReindexProgress
from app.errors import LookalikeError, UnavailableError
from app.ingest.jobs import rows as jobs
from app.ingest.jobs.rows import RunningTotals
from app.model_switch.active import OpenIndexVersion

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
# How prometheus_client combines the values of several live processes.
_MultiprocessMode = Literal["livesum", "livemin", "livemostrecent"]


class ProcessGauges:
    """Context manager with a thread that updates this process's gauges every second."""

    def __init__(self, registry: CollectorRegistry, service: Service) -> None:
        self._registry, self._service = registry, service
        self._stopping, self._all = threading.Event(), list[Gauge]()
        self._workers = self._gauge("workers", "Server processes.", "livesum")
        self._images = self._gauge("images", "Images in the index.", "livemostrecent")
        self._applied = self._gauge(
            "applied_seq", "Last catalogue change applied to the index, in the process furthest behind.", "livemin"
        )
        self._codes = self._gauge(
            "codes_bytes", "Memory of the codes in each process, or in Milvus, in bytes.", "livemostrecent"
        )
        self._vectors = self._gauge("vectors_bytes", "Size of F7 on disk or in Milvus, in bytes.", "livemostrecent")
        self._waiting = self._gauge("encoder_queued_images", "Images waiting to be encoded.", "livesum")
        self._connections = self._gauge("database_connections_in_use", "Database connections in use.", "livesum")
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)

    def __enter__(self) -> "ProcessGauges":
        self.update()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for gauge in self._all:
            self._registry.unregister(gauge)

    def update(self) -> None:
        """Set the gauges to the current values."""
        self._service.model_switch.run(self._update)

    def _update(self, now: OpenIndexVersion) -> None:
        pool = self._service.database.engine.pool
        self._workers.set(1)
        self._images.set(len(now.index))
        self._applied.set(now.index_sync.seq)
        self._codes.set(now.index.code_bytes)
        self._vectors.set(now.index.vector_bytes)
        self._waiting.set(now.encoder.queued)
        self._connections.set(pool.checkedout() if isinstance(pool, QueuePool) else 0)

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            try:
                self.update()
            except LookalikeError as error:
                # Requests report the same error; try again at the next interval.
                log.info("updating the process gauges failed: %s", error)
            except Exception:  # if the thread ended, the gauges would silently keep old values
                log.exception("updating the process gauges failed")

    def _gauge(self, name: str, documentation: str, mode: _MultiprocessMode) -> Gauge:
        gauge = Gauge(f"lookalike_{name}", documentation, registry=self._registry, multiprocess_mode=mode)
        self._all.append(gauge)
        return gauge


class CatalogueCollector:
    """Prometheus collector for the catalogue, jobs, reindexing and free disk space; `database_up` is 0 on failure."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Query the database and the disk."""
        try:
            with self._service.database.read_session() as session:
                seq, under_way = queries.last_seq(session), jobs.running_totals(session)
                filling = index_versions.reindex_in_progress(session)
                adaptation = index_versions.last_adaptation(session)
        except UnavailableError:
            yield _database_up(0)
        else:
            yield _database_up(1)
            yield _metric("catalogue_seq", "Number of the last change to the catalogue.", seq)
            yield from _job_metrics(under_way)
            yield from _reindex_metrics(filling)
            yield from _adaptation_metrics(adaptation)
        free = shutil.disk_usage(self._service.settings.data_dir).free
        yield _metric("disk_free_bytes", "Free space on the data folder's disk, in bytes.", free)
        yield self._info()

    def _info(self) -> Metric:
        network = self._service.model_info
        info = GaugeMetricFamily("lookalike_model_info", "The model in use; always 1.", labels=["name", "fingerprint"])
        info.add_metric([network.name, network.fingerprint], 1)
        return info


def _database_up(value: int) -> Metric:
    return _metric("database_up", "Whether the database answers.", value)


def _job_metrics(under_way: RunningTotals) -> Iterator[Metric]:
    yield _metric("jobs_running", "Unfinished jobs.", under_way.jobs)
    yield _metric("jobs_entries", "Entries of unfinished jobs, as far as they have been counted.", under_way.entries)
    yield _metric("jobs_processed_entries", "Processed entries of unfinished jobs.", under_way.processed)


def _reindex_metrics(filling: ReindexProgress | None) -> Iterator[Metric]:
    done, total = (filling.processed, filling.total) if filling is not None else (0, 0)
    yield _metric("reindex_images", "Images to reindex; 0 if no reindexing is in progress.", total)
    yield _metric("reindex_processed_images", "Images that have been reindexed.", done)


def _adaptation_metrics(adaptation: Mapping[str, Any] | None) -> Iterator[Metric]:
    """Yield what the last adaptation measured; families without values before the first one."""
    share = "Share of the ten exact nearest neighbours that {} when codes were last fitted to the catalogue."
    for name, measured, found in (
        ("codes_recall", "codes", "codes alone find"),
        ("pool_recall", "recall", "the pool holds"),
    ):
        metric = GaugeMetricFamily(f"lookalike_{name}", share.format(found), labels=["codes"])
        if adaptation is not None:
            for codes in ("before", "after"):
                metric.add_metric([codes], adaptation[codes][measured])
        yield metric


def _metric(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"lookalike_{name}", documentation, value=value)
