"""Threads for blocking work, apart for what must not wait for the rest.

Ordinary endpoints run in AnyIO's own threads. Health, metrics and key look-ups, images on their way out, and searches
have threads of their own.
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


class PromptThreads:
    """A few threads for short work that has to be answered while all other threads are busy."""

    def __init__(self, threads: int = 4) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Calls a function in one of the threads; its database connection is one of those kept for such work."""

        def promptly() -> T:
            with priority(Priority.PROMPT):
                return work(*arguments)

        return await to_thread.run_sync(promptly, limiter=self._limiter)


class FairThreads:
    """Runs work in a pool of threads, one piece of each caller in turn.

    Someone who searches with hundreds of images at the same time does not delay others by all of them.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads, self._changing = threads, Lock()
        self._waiting: dict[Hashable, deque[tuple[Future[Any], Callable[[], Any]]]] = {}

    def submit(self, caller: Hashable, work: Callable[[], T]) -> "Future[T]":
        """Has a piece of work done when it is the caller's turn."""
        future: Future[T] = Future()
        with self._changing:
            self._waiting.setdefault(caller, deque()).append((future, work))
        self._threads.submit(self._next)
        return future

    def _next(self) -> None:
        future, work = self._take()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # the future's reader gets it
            future.set_exception(error)

    def _take(self) -> tuple[Future[Any], Callable[[], Any]]:
        """Takes a piece of the caller who has waited longest, who then waits behind all others."""
        with self._changing:
            caller = next(iter(self._waiting))
            pieces = self._waiting.pop(caller)
            piece = pieces.popleft()
            if pieces:
                self._waiting[caller] = pieces
        return piece


@dataclass(frozen=True)
class Searches:
    """Runs the searches of one request in the threads for searches."""

    threads: FairThreads
    caller: Hashable

    async def run(self, work: Callable[[], T]) -> T:
        """Waits for a search."""
        return (await self.run_all([work]))[0]

    async def run_all(self, pieces: Sequence[Callable[[], T]]) -> list[T]:
        """Waits for several searches; where one fails, those that have not begun are dropped."""
        futures = [asyncio.wrap_future(self.threads.submit(self.caller, _in_context(piece))) for piece in pieces]
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()


def _in_context(work: Callable[[], T]) -> Callable[[], T]:
    """Returns the work as it is done in a thread: with what is known of the request, and the priority of searches."""

    def search() -> T:
        with priority(Priority.SEARCH):
            return work()

    return partial(copy_context().run, search)
