"""For whoever runs the service: numbers, health, metrics."""

import logging
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.dependencies import GaugesDep, MetricsDep, PromptThreadsDep, ServiceDep
from app.api.middleware.auth import INFORMED
from app.api.schemas.images import PROBLEM
from app.api.schemas.system import HealthOut, ModelOut, ReadyOut, ReindexingOut, StatsOut
from app.bootstrap import Service
from app.catalogue import generations
from app.catalogue.generations import Filling
from app.catalogue.queries import Totals
from app.errors import UnavailableError
from app.model_switch.active import OpenGeneration
from app.observability.metrics import Metrics
from app.observability.process_gauges import Catalogue, Gauges

log = logging.getLogger(__name__)

router = APIRouter(tags=["system"], responses={503: {"description": "Not now; see Retry-After.", **PROBLEM}})


@router.get("/stats", operation_id="get_stats", summary="The catalogue in numbers")
def stats(service: ServiceDep) -> StatsOut:
    """Counts pictures, changes and bytes."""
    totals = service.summaries.totals(service.database)
    with service.database.asking() as session:
        filling = generations.being_filled(session)
    return service.handover.do(lambda now: _stats(now, totals, filling))


def _stats(now: OpenGeneration, totals: Totals, filling: Filling | None) -> StatsOut:
    model = {name: getattr(now.network, name) for name in ModelOut.model_fields}
    return StatsOut(
        images=totals.images,
        labels=totals.labels,
        model=ModelOut(**model),
        reindexing=None if filling is None else ReindexingOut(**vars(filling)),
        seq=totals.seq,
        applied_seq=now.follower.seq,
        bytes={
            "originals": totals.original_bytes,
            "vectors": now.index.bytes_kept,
            "codes": now.index.bytes_in_use,
        },
        version=version("lookalike"),
    )


@router.get("/healthz", operation_id="get_health", summary="Is the process alive?")
async def healthz() -> HealthOut:
    """Answers as long as the process does."""
    return HealthOut()


@router.get(
    "/readyz", operation_id="get_readiness", summary="Can searches be answered?", response_model_exclude_none=True
)
async def readyz(request: Request, service: ServiceDep, threads: PromptThreadsDep) -> ReadyOut:
    """Asks the database and the index, and brings the index up to date.

    Callers that may search get the number of pictures, or the reason why the service is not ready; others get neither.
    """
    informed = getattr(request.state, INFORMED)
    try:
        service.disk.require()
        images = await threads.run(service.handover.do, _ready)
    except UnavailableError as error:
        if informed:
            raise
        log.warning("not ready: %s", error)
        raise UnavailableError("The service is not ready; its log says why.", error.retry_after) from error
    return ReadyOut(images=images if informed else None)


def _ready(now: OpenGeneration) -> int:
    index = now.follower.current()
    index.require()
    return len(index)


@router.get("/metrics", operation_id="get_metrics", summary="Metrics for Prometheus", response_class=Response)
async def show_metrics(
    service: ServiceDep, metrics: MetricsDep, gauges: GaugesDep, threads: PromptThreadsDep
) -> Response:
    """Returns what all processes of this server have done, and how the catalogue is."""
    content = await threads.run(_render, service, metrics, gauges)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def _render(service: Service, metrics: Metrics, gauges: Gauges) -> bytes:
    gauges.look()
    return metrics.render() + Catalogue(service).render()
