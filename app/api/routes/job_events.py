"""Progress of a job, for server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Callable

from anyio import to_thread

from app.api.schemas.jobs import JobOut
from app.errors import UnavailableError

# Seconds between two polls of a job.
POLL_INTERVAL_S = 0.5


async def progress(job: JobOut, read: Callable[[], JobOut], stopping: Callable[[], bool]) -> AsyncIterator[JobOut]:
    """Yield a job's state whenever it changes, until the job ends or the service stops.

    Args:
        job: current state, which is yielded first.
        read: returns the state; called in a thread.
        stopping: returns whether the service is stopping.
    """
    yield job
    while job.state == "running" and not stopping():
        await asyncio.sleep(POLL_INTERVAL_S)
        try:
            before, job = job, await to_thread.run_sync(read)
        except UnavailableError:
            return  # clients reconnect
        if job != before:
            yield job
