"""Progress of jobs and training runs, for server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from anyio import to_thread

from app.api.schemas.jobs import JobOut
from app.errors import NotFoundError, UnavailableError

# Seconds between two polls of a job.
POLL_INTERVAL_S = 0.5


State = TypeVar("State")


async def progress(job: JobOut, read: Callable[[], JobOut], stopping: Callable[[], bool]) -> AsyncIterator[JobOut]:
    """Yield a job's state whenever it changes, until the job ends or the service stops.

    Args:
        job: current state, which is yielded first.
        read: returns the state; called in a thread.
        stopping: returns whether the service is stopping.
    """
    async for state in changes(job, read, lambda one: one.state == "running", stopping):
        yield state


async def changes(
    state: State, read: Callable[[], State], is_running: Callable[[State], bool], stopping: Callable[[], bool]
) -> AsyncIterator[State]:
    """Yield a state, and again whenever it changes, until it has ended or the service stops.

    Args:
        state: current state.
        read: returns the state; called in a thread.
        is_running: whether it can still change.
        stopping: returns whether the service is stopping.
    """
    yield state
    while is_running(state) and not stopping():
        await asyncio.sleep(POLL_INTERVAL_S)
        try:
            before, state = state, await to_thread.run_sync(read)
        except (UnavailableError, NotFoundError):
            return  # clients reconnect
        if state != before:
            yield state
