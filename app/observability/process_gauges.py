"""Prometheus metrics of what is: how large the catalogue is, how far behind an index, what waits, what is under way.

What each process knows of itself it looks up every second (`Gauges`), so that whichever is asked knows it of all.
What the database knows is asked for when somebody wants to see it (`Catalogue`).
"""

import logging
import shutil
import threading
from collections.abc import Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import QueuePool

from app.bootstrap import Service
from app.catalogue import generations, queries
from app.catalogue.generations import Filling
from app.errors import LookalikeError, UnavailableError
from app.ingest.jobs import rows as jobs
from app.ingest.jobs.rows import UnderWay
from app.model_switch.active import OpenGeneration

log = logging.getLogger(__name__)

_EVERY_S = 1.0
# What the values of several processes make together; those of processes that have ended are left out.
_Together = Literal["livesum", "livemin", "livemostrecent"]


class Gauges:
    """A thread that looks every second how this process is, while the block lasts."""

    def __init__(self, registry: CollectorRegistry, service: Service) -> None:
        self._registry, self._service = registry, service
        self._ending, self._all = threading.Event(), list[Gauge]()
        self._workers = self._gauge("workers", "Processes that serve.", "livesum")
        self._images = self._gauge("images", "Images in the index.", "livemostrecent")
        self._applied = self._gauge(
            "applied_seq", "The last change that the index of the process furthest behind has.", "livemin"
        )
        self._codes = self._gauge(
            "codes_bytes", "Bytes of memory that codes take in each process, or in Milvus.", "livemostrecent"
        )
        self._vectors = self._gauge("vectors_bytes", "Bytes of F7, wherever it is kept.", "livemostrecent")
        self._waiting = self._gauge("encoder_queued_images", "Images that wait to be encoded.", "livesum")
        self._connections = self._gauge("database_connections_in_use", "Connections to the database in use.", "livesum")
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)

    def __enter__(self) -> "Gauges":
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        for gauge in self._all:
            self._registry.unregister(gauge)

    def look(self) -> None:
        """Notes how this process is now."""
        self._service.handover.do(self._note)

    def _note(self, now: OpenGeneration) -> None:
        pool = self._service.database.engine.pool
        self._workers.set(1)
        self._images.set(len(now.index))
        self._applied.set(now.follower.seq)
        self._codes.set(now.index.bytes_in_use)
        self._vectors.set(now.index.bytes_kept)
        self._waiting.set(now.encoder.waiting)
        self._connections.set(pool.checkedout() if isinstance(pool, QueuePool) else 0)

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_S):
            try:
                self.look()
            except LookalikeError as error:
                # Requests say so themselves; here it is only tried again.
                log.info("cannot look how this process is: %s", error)
            except Exception:  # nobody would start this thread again, and gauges would show old numbers unnoticed
                log.exception("cannot look how this process is")

    def _gauge(self, name: str, about: str, together: _Together) -> Gauge:
        made = Gauge(f"lookalike_{name}", about, registry=self._registry, multiprocess_mode=together)
        self._all.append(made)
        return made


class Catalogue:
    """What the database and the disk say when they are asked; without the database, that it does not answer."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def render(self) -> bytes:
        """Returns it in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Asks."""
        try:
            with self._service.database.asking() as session:
                seq, under_way = queries.last_change(session), jobs.under_way(session)
                filling = generations.being_filled(session)
        except UnavailableError:
            yield _database_up(0)
        else:
            yield _database_up(1)
            yield _metric("catalogue_seq", "The last change to the catalogue.", seq)
            yield from _of_jobs(under_way)
            yield from _of_reencoding(filling)
        free = shutil.disk_usage(self._service.settings.data_dir).free
        yield _metric("disk_free_bytes", "Bytes free where pictures and vectors lie.", free)
        yield self._info()

    def _info(self) -> Metric:
        network = self._service.network
        info = GaugeMetricFamily("lookalike_model_info", "The model in use; always 1.", labels=["name", "fingerprint"])
        info.add_metric([network.name, network.fingerprint], 1)
        return info


def _database_up(value: int) -> Metric:
    return _metric("database_up", "Whether the database answers.", value)


def _of_jobs(under_way: UnderWay) -> Iterator[Metric]:
    yield _metric("jobs_running", "Jobs that have not ended.", under_way.jobs)
    yield _metric("jobs_entries", "Entries of those jobs, as far as they are counted.", under_way.entries)
    yield _metric("jobs_processed_entries", "Entries of those jobs that are processed.", under_way.settled)


def _of_reencoding(filling: Filling | None) -> Iterator[Metric]:
    done, total = (filling.processed, filling.total) if filling is not None else (0, 0)
    yield _metric("reindex_images", "Images of a catalogue that is being reindexed; 0 if none is.", total)
    yield _metric("reindex_processed_images", "Images of it that are encoded.", done)


def _metric(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"lookalike_{name}", about, value=value)
