"""Maintenance tasks in the background: adapt, demo, reindex and report, and the models to reindex with."""

from collections.abc import Iterator
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from sqlalchemy import select

from app.api.dependencies import ServiceDep
from app.api.known_parameters import resource_router
from app.api.schemas.images import PROBLEM
from app.api.schemas.tasks import AvailableModelOut, ModelList, ReindexIn, TaskList, TaskOut
from app.bootstrap import Service
from app.catalogue.database.tables import FeatureSet
from app.errors import InvalidInputError, LookalikeError
from app.tasks import rows
from app.tasks.rows import TaskKind
from app.tasks.runner import TaskRunner
from models.checkpoint.info import CheckpointInfo, find_checkpoint, list_pretrained, read_info
from models.errors import ModelError

router = resource_router(
    "tasks",
    responses={
        422: {"description": "A parameter or field is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "Another task is running.", **PROBLEM}}
NOT_EMPTY: dict[int | str, dict[str, Any]] = {
    409: {"description": "The catalogue or its trash has images, or another task is running.", **PROBLEM}
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "There was no such task.", **PROBLEM}}


async def get_task_runner(request: Request) -> TaskRunner:
    """Return this process's runner of tasks."""
    return cast("TaskRunner", request.state.tasks)


TaskRunnerDep = Annotated[TaskRunner, Depends(get_task_runner)]


@router.get("/models", operation_id="list_models", summary="List models to reindex with")
def list_models(service: ServiceDep) -> ModelList:
    """List the shipped models and those that the catalogue has used, with the one in use."""
    active = service.model_switch.active.index_version.feature_set.model
    return ModelList(
        items=[
            AvailableModelOut(
                name=name,
                fingerprint=info.fingerprint,
                backbone=info.backbone,
                bits=info.bits,
                feature_dim=info.feature_dim,
                precision=info.precision,
                classes=len(info.classes),
                active=name == active,
            )
            for name, info in _models(service)
        ]
    )


@router.get("/tasks", operation_id="list_tasks", summary="List maintenance tasks")
def list_tasks(service: ServiceDep) -> TaskList:
    """Return the last run of each kind of task, with its progress and its result."""
    with service.database.read_session() as session:
        return TaskList(items=[TaskOut.model_validate(task) for task in rows.list_tasks(session)])


@router.post(
    "/tasks/adapt",
    operation_id="start_adapt",
    summary="Fit codes to the catalogue",
    status_code=202,
    responses=CONFLICT,
)
def start_adapt(tasks: TaskRunnerDep) -> TaskOut:
    """Fit codes to the catalogue in the background, and use them if they find more; as `lookalike adapt` does.

    Searches continue. Needs the scope `admin`.
    """
    return TaskOut.model_validate(tasks.start(TaskKind.ADAPT))


@router.post(
    "/tasks/demo",
    operation_id="start_demo",
    summary="Add the demo images to an empty catalogue",
    status_code=202,
    responses=NOT_EMPTY,
)
def start_demo(tasks: TaskRunnerDep) -> TaskOut:
    """Draw and add the demo images in the background; as `lookalike demo` does.

    The catalogue and its trash must be empty. Needs the scope `admin`.
    """
    return TaskOut.model_validate(tasks.start(TaskKind.DEMO))


@router.post(
    "/tasks/reindex",
    operation_id="start_reindex",
    summary="Move the catalogue to another model",
    status_code=202,
    responses=CONFLICT,
)
def start_reindex(body: ReindexIn, service: ServiceDep, tasks: TaskRunnerDep) -> TaskOut:
    """Encode all images with another model in the background, then switch to it; as `lookalike reindex` does.

    Searches continue. A task that is interrupted resumes where it stopped when it is started again. Needs the scope
    `admin`.
    """
    names = [name for name, _ in _models(service)]
    if body.model not in names:
        raise InvalidInputError("model", f"is not one of {', '.join(names)}. `lookalike reindex` takes any checkpoint")
    if (fixed := service.settings.model) not in (None, body.model):
        raise LookalikeError(
            f"LOOKALIKE_MODEL is {fixed}, so the service would not start with another model. Remove it, restart the "
            "service, and try again."
        )
    return TaskOut.model_validate(tasks.start(TaskKind.REINDEX, body.model))


@router.post(
    "/tasks/report",
    operation_id="start_report",
    summary="Measure search quality",
    status_code=202,
    responses=CONFLICT,
)
def start_report(tasks: TaskRunnerDep) -> TaskOut:
    """Measure search quality in the background and write the report that `GET /report` shows.

    It is what `lookalike report` does. Needs the scope `admin`.
    """
    return TaskOut.model_validate(tasks.start(TaskKind.REPORT))


@router.post("/tasks/{kind}/cancel", operation_id="cancel_task", summary="Cancel a maintenance task", responses=MISSING)
def cancel_task(kind: TaskKind, service: ServiceDep) -> TaskOut:
    """Cancel a task; its process ends within seconds, and the catalogue stays as it is.

    Demo images that were added before stay. Cancelling a task that has ended changes nothing. Needs the scope `admin`.
    """
    with service.database.transaction(allow_low_space=True) as session:
        return TaskOut.model_validate(rows.cancel(session, kind))


def _models(service: Service) -> Iterator[tuple[str, CheckpointInfo]]:
    """Yield the name and description of the shipped models, then of others that the catalogue has used."""
    with service.database.read_session() as session:
        used = session.scalars(select(FeatureSet.model).distinct().order_by(FeatureSet.model)).all()
    for name in dict.fromkeys([*list_pretrained(), *used]):
        try:
            yield name, read_info(find_checkpoint(name))
        except (ModelError, OSError):
            continue  # a checkpoint that was moved or deleted
