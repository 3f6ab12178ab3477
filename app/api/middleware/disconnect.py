"""Cancel a request's database statements when its client disconnects.

Once a request's body is complete, this middleware waits for its next ASGI message, so that a disconnect is noticed at
once. Then the running statement is cancelled, and further statements are rejected
(`app/catalogue/database/cancellation.py`).
"""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.catalogue.database.cancellation import Caller, set_caller
from app.errors import LookalikeError

# A cancellation between two statements has no effect, so it is repeated until the request ends.
_REPEAT_S = 1.0
# Methods without a body, or with one that no endpoint reads.
_METHODS_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")


class CancelOnDisconnect:
    """Middleware that cancels database statements of disconnected clients."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application and watch for a disconnect meanwhile."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages = _Messages(receive, reads_body=scope["method"] not in _METHODS_WITHOUT_BODY)

        async def send_if_connected(message: Message) -> None:
            # Without a response the request is logged as disconnected.
            if not messages.gone.is_set():
                await send(message)

        with set_caller(Caller()) as caller:
            watching = asyncio.create_task(_watch(messages, caller))
            try:
                await self._app(scope, messages.receive, send_if_connected)
            finally:
                watching.cancel()


class _Messages:
    """Splits a request's messages: the body for the application, the disconnect for the watcher."""

    def __init__(self, receive: Receive, *, reads_body: bool) -> None:
        self._receive, self._reads_body, self._empty_body_sent = receive, reads_body, False
        self._complete, self.gone = asyncio.Event(), asyncio.Event()

    async def receive(self) -> Message:
        """Return a part of the body; after its end, wait for the disconnect."""
        if self._reads_body and not self._complete.is_set():
            return self._track(await self._receive())
        if not (self._reads_body or self._empty_body_sent):
            self._empty_body_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def wait_for_disconnect(self) -> None:
        """Wait until the client disconnects. Reads messages only once the application has read the whole body."""
        if self._reads_body:
            await self._complete.wait()
        while not self.gone.is_set():
            self._track(await self._receive())

    def _track(self, message: Message) -> Message:
        if message["type"] == "http.disconnect":
            self.gone.set()
        if not message.get("more_body", False):
            self._complete.set()
        return message


async def _watch(messages: _Messages, caller: Caller) -> None:
    # The admission middleware responds to bodies that are too large or too slow.
    with suppress(LookalikeError):
        await messages.wait_for_disconnect()
        while True:
            # Not in AnyIO's threads, which may all be waiting for the database.
            await asyncio.get_running_loop().run_in_executor(None, caller.cancel)
            await asyncio.sleep(_REPEAT_S)
