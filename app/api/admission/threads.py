"""Thread pools for blocking work.

Ordinary endpoints run in AnyIO's default threads. Health, metrics and key look-ups, image downloads, and searches
have separate threads, so that they do not wait for the rest.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from app.catalogue.database.priority import Priority, priority

T = TypeVar("T")


class ReservedThreads:
    """A few threads for short work that must not wait while all other threads are busy."""

    def __init__(self, threads: int = 4) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call a function in one of the threads, with a database connection reserved for such work."""

        def call() -> T:
            with priority(Priority.IMMEDIATE):
                return work(*arguments)

        return await to_thread.run_sync(call, limiter=self._limiter)


class FairExecutor:
    """Thread pool executor with round-robin scheduling between callers.

    A caller that searches with hundreds of images at once delays each other caller by one of them only.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads, self._lock = threads, Lock()
        self._waiting: dict[Hashable, deque[tuple[Future[Any], Callable[[], Any]]]] = {}

    def submit(self, caller: Hashable, work: Callable[[], T]) -> "Future[T]":
        """Submit work, to be run at the caller's turn."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(caller, deque()).append((future, work))
        self._threads.submit(self._run_next)
        return future

    def _run_next(self) -> None:
        future, work = self._next_task()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # re-raised by the future
            future.set_exception(error)

    def _next_task(self) -> tuple[Future[Any], Callable[[], Any]]:
        """Remove a task of the caller at the head of the queue, and move the caller to its end."""
        with self._lock:
            caller = next(iter(self._waiting))
            tasks = self._waiting.pop(caller)
            task = tasks.popleft()
            if tasks:
                self._waiting[caller] = tasks
        return task


@dataclass(frozen=True)
class SearchExecutor:
    """Runs the searches of one request in the search threads."""

    threads: FairExecutor
    caller: Hashable

    async def run(self, work: Callable[[], T]) -> T:
        """Run a search and return its result."""
        return (await self.run_all([work]))[0]

    async def run_all(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Run several searches and return their results; if one fails, those that have not started are cancelled."""
        futures = [asyncio.wrap_future(self.threads.submit(self.caller, _with_context(task))) for task in tasks]
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()


def _with_context(work: Callable[[], T]) -> Callable[[], T]:
    """Wrap work to run in a thread with the request's context variables and the priority of searches."""

    def search() -> T:
        with priority(Priority.SEARCH):
            return work()

    return partial(copy_context().run, search)
