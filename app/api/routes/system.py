"""Statistics, health checks and metrics."""

import logging
import math
import os
from importlib.metadata import version
from typing import Any

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.dependencies import GaugesDep, MetricsDep, ReservedThreadsDep, ServiceDep
from app.api.known_parameters import resource_router
from app.api.middleware.auth import MAY_SEARCH
from app.api.schemas.images import PROBLEM
from app.api.schemas.system import (
    AdaptationOut,
    BetterModelOut,
    HealthOut,
    ModelOut,
    ReadyOut,
    ReindexingOut,
    SimilarityBandOut,
    StatsOut,
)
from app.bootstrap import Service
from app.catalogue import index_versions
from app.catalogue.index_versions import ReindexProgress
from app.catalogue.queries import Totals
from app.errors import UnavailableError
from app.model_switch.active import OpenIndexVersion
from app.observability.metrics import Metrics
from app.observability.process_gauges import CatalogueCollector, ProcessGauges
from models.checkpoint.similarity import BANDS
from models.checkpoint.successors import SUCCESSORS

log = logging.getLogger(__name__)

router = resource_router(
    "system", responses={503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM}}
)


@router.get("/stats", operation_id="get_stats", summary="Statistics of the catalogue")
def stats(service: ServiceDep) -> StatsOut:
    """Return the number of images, labels and changes, the bytes stored, and the model in use."""
    totals = service.summaries.totals(service.database)
    with service.database.read_session() as session:
        filling = index_versions.reindex_in_progress(session)
        adaptation = index_versions.last_adaptation(session)
    return service.model_switch.run(lambda now: _stats_out(now, totals, adaptation, filling))


def _stats_out(
    now: OpenIndexVersion, totals: Totals, adaptation: dict[str, Any] | None, filling: ReindexProgress | None
) -> StatsOut:
    model = {name: getattr(now.network, name) for name in ModelOut.model_fields if name != "adapted"}
    return StatsOut(
        images=totals.images,
        labels=totals.labels,
        model=ModelOut(**model, adapted=now.index_version.adapted),
        similarity_bands=[SimilarityBandOut(name=band.name, min_similarity=band.minimum) for band in BANDS],
        better_model=_better_model(now, totals.images),
        adaptation=None if adaptation is None else AdaptationOut(**adaptation),
        reindexing=None if filling is None else ReindexingOut(**vars(filling)),
        seq=totals.seq,
        applied_seq=now.index_sync.seq,
        bytes={
            "originals": totals.original_bytes,
            "vectors": now.index.vector_bytes,
            "codes": now.index.code_bytes,
        },
        version=version("lookalike"),
    )


def _better_model(now: OpenIndexVersion, images: int) -> BetterModelOut | None:
    newer = SUCCESSORS.get(now.index_version.feature_set.fingerprint)
    if newer is None:
        return None
    return BetterModelOut(
        name=newer.name,
        gain=newer.gain,
        command=f"lookalike reindex {newer.name}",
        estimated_seconds=math.ceil(newer.seconds(images, os.cpu_count() or 1)),
    )


@router.get("/healthz", operation_id="get_health", summary="Liveness check")
async def healthz() -> HealthOut:
    """Respond 200 while the process runs."""
    return HealthOut()


@router.get("/readyz", operation_id="get_readiness", summary="Readiness check", response_model_exclude_none=True)
async def readyz(request: Request, service: ServiceDep, threads: ReservedThreadsDep) -> ReadyOut:
    """Respond 200 if the database and the index are available; bring the index up to date.

    Callers that may search get the number of images, or the reason for a 503; others get neither.
    """
    may_search = getattr(request.state, MAY_SEARCH)
    try:
        service.fsync_guard.require_healthy()
        images = await threads.run(service.model_switch.run, _index_size)
    except UnavailableError as error:
        if may_search:
            raise
        log.warning("not ready: %s", error)
        raise UnavailableError("The service is not ready. Its log has the reason.", error.retry_after) from error
    return ReadyOut(images=images if may_search else None)


def _index_size(now: OpenIndexVersion) -> int:
    index = now.index_sync.synced_index()
    index.check_available()
    return len(index)


@router.get("/metrics", operation_id="get_metrics", summary="Metrics for Prometheus", response_class=Response)
async def show_metrics(
    service: ServiceDep, metrics: MetricsDep, gauges: GaugesDep, threads: ReservedThreadsDep
) -> Response:
    """Return metrics of all processes of this server, and of the catalogue."""
    content = await threads.run(_render_metrics, service, metrics, gauges)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def _render_metrics(service: Service, metrics: Metrics, gauges: ProcessGauges) -> bytes:
    gauges.update()
    return metrics.render() + CatalogueCollector(service).render()
