"""Bounds what a request may cost before the cost is paid, and sets headers that every answer carries."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import respond
from app.errors import LookalikeError, OverloadedError, TooLargeError, TooSlowError

# What tells whether the service lives must answer even when it is busy.
ALWAYS = ("/healthz", "/readyz", "/metrics")


class Admission:
    """Answers 503 at once when so many requests are under way that another would only wait."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit, self._inside = app, limit, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, unless the house is full."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        if self._inside >= self._limit:
            await respond(OverloadedError())(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1


class _HungUpError(BaseException):
    """Nobody takes the answer; no error that anybody should try to answer."""


class BodyLimit:
    """Counts a request's bytes as they arrive, whatever its Content-Length says, and the seconds that they take.

    Answers 413 or 408 past the limit, and gives up on who does not take the answer either.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float) -> None:
        self._app, self._limit, self._seconds = app, limit, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, unless it is too large or too slow."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            await respond(TooLargeError(self._limit))(scope, receive, send)
            return
        refused: LookalikeError | None = None
        seen, complete, until = 0, False, asyncio.get_running_loop().time() + self._seconds

        async def bounded() -> Message:
            nonlocal seen, complete, refused
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                refused = TooSlowError(self._seconds)
                raise refused from error
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > self._limit:
                # Whoever reads the body turns this into an answer of its own, which is left out below.
                refused = TooLargeError(self._limit)
                raise refused
            return message

        async def unless_refused(message: Message) -> None:
            if refused is not None:
                return
            try:
                async with asyncio.timeout(self._seconds):
                    await send(message)
            except TimeoutError as error:
                raise _HungUpError from error

        with suppress(TooLargeError, TooSlowError, _HungUpError):
            await self._app(scope, bounded, unless_refused)
        if refused is not None:
            await respond(refused)(scope, receive, send)


class FixedHeaders:
    """Adds the same headers to every answer."""

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and marks its answer."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, marked)
