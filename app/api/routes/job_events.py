"""Server-sent events of a job."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

from anyio import to_thread
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.schemas.jobs import JobOut
from app.errors import UnavailableError

# Seconds between two looks at a job, and between two comments that keep a connection from looking dead.
EVERY_S, SILENCE_S = 0.5, 15.0


class EventStream(StreamingResponse):
    """Sends events while it holds a place, of which there are few.

    The place is taken before anything is sent, so that a request without one is answered 503 (an error in the middle of
    a stream could only break it), and by the response itself, so that it is given back however the response ends.

    Args:
        events: what is sent.
        place: taken for as long as the response lasts; raises `OverloadedError` where there is none.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], place: AbstractContextManager[None]) -> None:
        super().__init__(events)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events.

        Raises:
            OverloadedError: there is no place.
        """
        with self._place:
            await super().__call__(scope, receive, send)


async def events(job: JobOut, look: Callable[[], JobOut], ending: Callable[[], bool]) -> AsyncIterator[str]:
    """Yields a job whenever it has changed, until it has ended or the service does.

    Args:
        job: its state now, which comes first.
        look: returns its state; runs in a thread.
        ending: tells whether the service ends.
    """
    yield _event(job)
    silent = 0.0
    while job.state == "running" and not ending():
        await asyncio.sleep(EVERY_S)
        try:
            before, job = job, await to_thread.run_sync(look)
        except UnavailableError:
            return  # watchers connect again
        silent = silent + EVERY_S if job == before and silent < SILENCE_S else 0.0
        if job != before:
            yield _event(job)
        elif not silent:
            yield ": still here\n\n"


def _event(job: JobOut) -> str:
    return f"data: {job.model_dump_json()}\n\n"
