"""Cancels what the database does for a client that has hung up.

While a request is under way and its body is complete, its messages are waited for here, so that the end of its
connection is noticed at once. Then the statement that the database is at work on for it is cancelled, and what it
would still ask is refused (`app/catalogue/database/callers.py`).
"""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.catalogue.database.callers import Caller, calling
from app.errors import LookalikeError

# A cancellation that falls between two statements does nothing, so it is repeated until the request has ended.
_AGAIN_S = 1.0
# These have no body, or none that anything here reads.
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")


class CancelOnDisconnect:
    """Has a request's questions to the database end with its client."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and watches its connection meanwhile."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages = _Messages(receive, reads_body=scope["method"] not in _WITHOUT_BODY)

        async def unless_gone(message: Message) -> None:
            # An answer that reaches no one is no answer: the log shall say that the client left.
            if not messages.gone.is_set():
                await send(message)

        with calling(Caller()) as caller:
            watching = asyncio.create_task(_watch(messages, caller))
            try:
                await self._app(scope, messages.receive, unless_gone)
            finally:
                watching.cancel()


class _Messages:
    """A request's messages: its body for the application, its end for whoever watches; never read by both at a time."""

    def __init__(self, receive: Receive, *, reads_body: bool) -> None:
        self._receive, self._reads_body, self._given = receive, reads_body, False
        self._complete, self.gone = asyncio.Event(), asyncio.Event()

    async def receive(self) -> Message:
        """Returns a part of the body; after its end, waits for that of the connection."""
        if self._reads_body and not self._complete.is_set():
            return self._noted(await self._receive())
        if not (self._reads_body or self._given):
            self._given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def disconnected(self) -> None:
        """Waits until the client is gone."""
        if self._reads_body:
            await self._complete.wait()
        while not self.gone.is_set():
            self._noted(await self._receive())

    def _noted(self, message: Message) -> Message:
        if message["type"] == "http.disconnect":
            self.gone.set()
        if not message.get("more_body", False):
            self._complete.set()
        return message


async def _watch(messages: _Messages, caller: Caller) -> None:
    # A body that is refused as too large or too slow is answered elsewhere.
    with suppress(LookalikeError):
        await messages.disconnected()
        while True:
            # Not in the threads that requests share, which may all be waiting for the database.
            await asyncio.get_running_loop().run_in_executor(None, caller.leave)
            await asyncio.sleep(_AGAIN_S)
