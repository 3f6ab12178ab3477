"""Respond to HEAD wherever there is a GET (RFC 9110, 9.3.2).

FastAPI's routes do not handle HEAD, and adding it to each would list every call twice in the OpenAPI description.
"""

from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _HeadSentError(Exception):
    """Ends the application's response after its headers. Never leaves the middleware."""


class HeadMiddleware:
    """Middleware that calls the application with GET and sends the headers of its response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; for HEAD, end its response after the headers, so that no stream is read."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                await send({"type": "http.response.body", "body": b""})
                raise _HeadSentError

        # A copy, because the server omits the body only if its own scope's method is HEAD.
        inner = {**scope, "method": "GET"}
        try:
            with suppress(_HeadSentError):
                await self._app(inner, receive, send_head)
        finally:
            # For logs and metrics.
            scope.update({name: inner[name] for name in ("route", "app_root_path") if name in inner})
