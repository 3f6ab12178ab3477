"""Training runs of `lookalike train`, read from the logs in a folder."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.sse import EventSourceResponse

from app.api.dependencies import ServiceDep
from app.api.known_parameters import resource_router
from app.api.routes.job_events import changes
from app.api.routes.jobs import JobsDep, hold_stream_permit
from app.api.schemas.images import PROBLEM
from app.api.schemas.training import TrainingRunList, TrainingRunOut
from app.bootstrap import Service
from app.quality.training_runs import RunState, list_runs, read_run

router = resource_router(
    "tasks",
    responses={
        422: {"description": "A parameter is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)
MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such run.", **PROBLEM}}

RunName = Annotated[str, Path(min_length=1, max_length=255, examples=["mine"])]


@router.get("/training/runs", operation_id="list_training_runs", summary="List training runs")
def list_training_runs(service: ServiceDep) -> TrainingRunList:
    """List the runs whose logs lie in `LOOKALIKE_TRAINING_DIR`, the latest first, at most 100."""
    folder = _folder(service)
    return TrainingRunList(folder=str(folder), items=[TrainingRunOut.model_validate(run) for run in list_runs(folder)])


def get_run_state(name: RunName, service: ServiceDep) -> TrainingRunOut:
    """Return a run's current state, or raise `NotFoundError`."""
    return _read(service, name)


@router.get("/training/runs/{name}", operation_id="get_training_run", summary="Get a training run", responses=MISSING)
def get_training_run(run: Annotated[TrainingRunOut, Depends(get_run_state)]) -> TrainingRunOut:
    """Return a training run with the scores of its epochs."""
    return run


@router.get(
    "/training/runs/{name}/events",
    operation_id="stream_training_events",
    summary="Stream a training run's progress",
    responses={200: {"description": "Server-sent events, each a run as JSON."}, **MISSING},
    response_class=EventSourceResponse,
    dependencies=[Depends(hold_stream_permit)],
)
async def stream_training_events(
    run: Annotated[TrainingRunOut, Depends(get_run_state)], service: ServiceDep, jobs: JobsDep
) -> AsyncIterator[TrainingRunOut]:
    """Stream a training run as server-sent events, whenever it changes, until it is done or has stopped."""
    read = partial(_read, service, run.name)
    async for state in changes(run, read, _is_running, lambda: jobs.runner.stopping):
        yield state


def _is_running(run: TrainingRunOut) -> bool:
    return run.state is RunState.RUNNING


def _read(service: Service, name: str) -> TrainingRunOut:
    return TrainingRunOut.model_validate(read_run(_folder(service), name))


def _folder(service: Service) -> FilePath:
    settings = service.settings
    return settings.training_dir or settings.data_dir / "runs"
