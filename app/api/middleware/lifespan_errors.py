"""Log known startup and shutdown errors as one line, without a traceback."""

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import LookalikeError
from models.errors import ModelError


class LifespanErrorMiddleware:
    """Middleware that replaces the traceback of a known lifespan error by its message."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; change only its `lifespan.*.failed` messages."""

        async def send_message(message: Message) -> None:
            # Starlette sends the message while it handles the exception.
            error = sys.exception()
            if message["type"].endswith(".failed") and isinstance(error, LookalikeError | ModelError):
                message = {**message, "message": str(error)}
            await send(message)

        await self._app(scope, receive, send_message if scope["type"] == "lifespan" else send)
