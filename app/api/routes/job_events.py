"""Server-sent events of a job's progress."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

from anyio import to_thread
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.schemas.jobs import JobOut
from app.errors import UnavailableError

# Seconds between two polls of a job, and between two comments that keep an idle connection open.
POLL_INTERVAL_S, KEEPALIVE_INTERVAL_S = 0.5, 15.0


class EventStream(StreamingResponse):
    """Event stream that holds a permit while it is sent.

    The permit is acquired before anything is sent, because then the response can still be 503, and by the response
    itself, so that it is released however the response ends.

    Args:
        events: the events.
        permit: context manager that acquires and releases the permit; raises `OverloadedError` if none is free.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], permit: AbstractContextManager[None]) -> None:
        super().__init__(events)
        self._permit = permit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Acquire the permit and send the events.

        Raises:
            OverloadedError: no permit is free.
        """
        with self._permit:
            await super().__call__(scope, receive, send)


async def events(job: JobOut, read: Callable[[], JobOut], stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield a job's state whenever it changes, until the job ends or the service stops.

    Args:
        job: current state, which is sent first.
        read: returns the state; called in a thread.
        stopping: returns whether the service is stopping.
    """
    yield _event(job)
    unchanged_s = 0.0
    while job.state == "running" and not stopping():
        await asyncio.sleep(POLL_INTERVAL_S)
        try:
            before, job = job, await to_thread.run_sync(read)
        except UnavailableError:
            return  # clients reconnect
        unchanged_s = unchanged_s + POLL_INTERVAL_S if job == before and unchanged_s < KEEPALIVE_INTERVAL_S else 0.0
        if job != before:
            yield _event(job)
        elif not unchanged_s:
            yield ": keep-alive\n\n"


def _event(job: JobOut) -> str:
    return f"data: {job.model_dump_json()}\n\n"
