"""Bounds what a request may cost before the cost is paid, and sets headers that every answer carries."""

from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import respond
from app.errors import TooLargeError


class BodyLimit:
    """Counts a request's bytes as they arrive, whatever its Content-Length says, and answers 413 past the limit."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, unless it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = respond(TooLargeError(self._limit))
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            await refusal(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                # Whoever reads the body turns this into an answer of its own, which is left out below.
                raise TooLargeError(self._limit)
            return message

        async def unless_refused(message: Message) -> None:
            if seen <= self._limit:
                await send(message)

        with suppress(TooLargeError):
            await self._app(scope, counted, unless_refused)
        if seen > self._limit:
            await refusal(scope, receive, send)


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
