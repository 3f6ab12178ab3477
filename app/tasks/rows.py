"""Database rows of maintenance tasks: the last run of each kind.

A running task holds `Lock.TASK`, so a row that is `running` without the lock belongs to a process that died.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.catalogue.database.job_tables import Task
from app.catalogue.database.locks import Lock, is_held
from app.errors import NotFoundError

State = Literal["running", "done", "failed", "cancelled"]

INTERRUPTED = "The service ended while this ran. Start it again."
_RUNNING = Task.state == "running"
_FRESH = {"populate_existing": True}


class TaskKind(StrEnum):
    """A maintenance task, named as its command."""

    ADAPT = "adapt"
    DEMO = "demo"
    REINDEX = "reindex"
    REPORT = "report"


@dataclass(frozen=True)
class Progress:
    """What a task is doing, and how far it is."""

    step: str
    processed: int
    total: int | None


def begin(session: Session, kind: TaskKind, model: str | None) -> Task:
    """Replace the kind's last run by a new one. The caller holds the lock, so no other task runs."""
    session.execute(update(Task).where(_RUNNING).values(state="failed", message=INTERRUPTED, ended_at=func.now()))
    values = {
        "state": "running",
        "model": model,
        "step": None,
        "processed": 0,
        "total": None,
        "message": None,
        "started_at": func.now(),
        "ended_at": None,
    }
    statement = insert(Task).values(kind=kind.value, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["kind"], set_=values))
    return session.get_one(Task, kind.value, populate_existing=True)


def list_tasks(session: Session) -> Sequence[Task]:
    """List the last run of each kind, the latest first."""
    tasks = session.scalars(select(Task).order_by(Task.started_at.desc())).all()
    if any(task.state == "running" for task in tasks) and not is_held(session, Lock.TASK):
        # Read again: the task may have ended before the lock was looked at.
        tasks = session.scalars(select(Task).order_by(Task.started_at.desc()), execution_options=_FRESH).all()
        # What is shown of a dead process's task is not stored.
        session.expunge_all()
        for task in tasks:
            if task.state == "running":
                task.state, task.message = "failed", INTERRUPTED
    return tasks


def store_progress(session: Session, kind: TaskKind, progress: Progress | None) -> bool:
    """Store a running task's progress; return False if it was cancelled."""
    values = {} if progress is None else vars(progress)
    running = update(Task).where(Task.kind == kind.value, _RUNNING).values(kind=kind.value, **values)
    return session.scalars(running.returning(Task.kind)).first() is not None


def end(session: Session, kind: TaskKind, state: State, message: str) -> None:
    """End a running task; a cancelled one stays as it is."""
    ended = update(Task).where(Task.kind == kind.value, _RUNNING)
    session.execute(ended.values(state=state, message=message, ended_at=func.now()))


def cancel(session: Session, kind: TaskKind) -> Task:
    """Cancel a task, which its process then ends; one that has ended stays as it is.

    Raises:
        NotFoundError: there was no such task.
    """
    end(session, kind, "cancelled", "Cancelled.")
    task = session.get(Task, kind.value, populate_existing=True)
    if task is None:
        raise NotFoundError("task", kind.value)
    return task
