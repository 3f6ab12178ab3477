"""Run maintenance tasks as child processes, one at a time for all processes of a catalogue."""

import json
import logging
import threading
from concurrent.futures import Future

from app.bootstrap import Service
from app.catalogue import index_versions, queries
from app.catalogue.database.job_tables import Task
from app.catalogue.database.locks import Lock, is_held, lock_if_free
from app.errors import LookalikeError, UnavailableError
from app.tasks import rows
from app.tasks.child import COMMAND, ChildResult, run_child
from app.tasks.rows import Progress, State, TaskKind

log = logging.getLogger(__name__)

# With this option, commands write their progress as JSON.
_OPTIONS = ("--json-progress",)
_DONE = {TaskKind.REPORT: "The report is ready."}
# Tasks that write another index version.
_VERSIONED = (TaskKind.ADAPT, TaskKind.REINDEX)


class TaskRunner:
    """Starts tasks; a task ends with the process that started it."""

    def __init__(self, service: Service) -> None:
        self._settings, self._database = service.settings, service.database
        self._ending, self._threads = threading.Event(), set[threading.Thread]()

    def __enter__(self) -> "TaskRunner":
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in list(self._threads):
            thread.join()

    def start(self, kind: TaskKind, model: str | None = None) -> Task:
        """Start a task and return its row.

        Args:
            kind: what to do.
            model: the model to reindex with.

        Raises:
            LookalikeError: another task runs, a command does the same, or the demo is for an empty catalogue.
        """
        started = Future[Task]()
        # The lock's connection must not belong to the request's thread, which a disconnect interrupts.
        thread = threading.Thread(target=self._run, args=(kind, model, started), name=f"task-{kind}", daemon=True)
        self._threads.add(thread)
        thread.start()
        return started.result()

    def _run(self, kind: TaskKind, model: str | None, started: "Future[Task]") -> None:
        try:
            with lock_if_free(self._database, Lock.TASK) as free:
                started.set_result(self._begin(kind, model, free=free))
                self._run_command(kind, model)
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            else:  # the thread ends; without the lock, its row counts as that of an interrupted task
                log.exception("the task %s failed", kind)
        finally:
            self._threads.discard(threading.current_thread())

    def _begin(self, kind: TaskKind, model: str | None, *, free: bool) -> Task:
        with self._database.transaction(allow_low_space=True) as session:
            if not free:
                running = next((task.kind for task in rows.list_tasks(session) if task.state == "running"), "before")
                raise LookalikeError(f"The task {running} is running or being stopped. Wait until it has ended.")
            if kind is TaskKind.DEMO and not queries.is_empty(session):
                raise LookalikeError(
                    "The catalogue or its trash has images, and the demo is added only to an empty catalogue. Delete "
                    "the images and empty the trash first."
                )
            if kind in _VERSIONED and is_held(session, Lock.ADAPT):
                raise LookalikeError("Codes are being fitted to the catalogue already. Wait until that has ended.")
            moving = index_versions.reindex_in_progress(session)
            if kind in _VERSIONED and moving is not None:
                raise LookalikeError(f"The catalogue is moving to {moving.model} already. Wait until that has ended.")
            return rows.begin(session, kind, model)

    def _run_command(self, kind: TaskKind, model: str | None) -> None:
        """Run the task's command, and store its progress and its result."""
        words, latest = [kind.value, *([model] if model is not None else [])], list[Progress]()

        def is_progress(line: str) -> bool:
            if (progress := parse_progress(line)) is not None:
                latest[:] = [progress]
            return progress is not None

        def is_stopped() -> bool:
            return self._ending.is_set() or not self._store(kind, latest[-1] if latest else None)

        ended = run_child(
            [*COMMAND, *_OPTIONS, *words],
            self._settings,
            is_stopped,
            is_progress,
            # A person waits for the demo, and an empty catalogue is not searched.
            lowest_priority=kind is not TaskKind.DEMO,
        )
        is_stopped()  # stores the last progress
        state, message = self._result(kind, ended)
        log.info("task %s: %s. %s", kind, state, message)
        with self._database.transaction(allow_low_space=True) as session:
            rows.end(session, kind, state, message)

    def _store(self, kind: TaskKind, progress: Progress | None) -> bool:
        """Store the progress; return False if the task was cancelled. Without the database it continues."""
        try:
            with self._database.transaction(allow_low_space=True) as session:
                return rows.store_progress(session, kind, progress)
        except UnavailableError as error:
            log.info("the progress of the task %s was not stored: %s", kind, error)
            return True

    def _result(self, kind: TaskKind, ended: ChildResult) -> tuple[State, str]:
        if ended.status == 0:
            return "done", _DONE.get(kind) or ended.output
        return "failed", rows.INTERRUPTED if self._ending.is_set() else ended.error or f"It ended with {ended.status}."


def parse_progress(line: str) -> Progress | None:
    """Parse a line of a command's progress; None if it is another line."""
    try:
        return Progress(**json.loads(line)) if line.startswith('{"step"') else None
    except (ValueError, TypeError):
        return None
