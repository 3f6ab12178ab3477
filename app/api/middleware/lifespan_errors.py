"""Why a service cannot start, or did not end well, for whoever reads its log."""

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import LookalikeError
from models.errors import ModelError


class Sentences:
    """Has the server log a sentence, and not a traceback, where what went wrong at its start or end was foreseen."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on; only of a failed start or end it changes what the server is told."""

        async def told(message: Message) -> None:
            # It is sent while the error is being handled.
            error = sys.exception()
            if message["type"].endswith(".failed") and isinstance(error, LookalikeError | ModelError):
                message = {**message, "message": str(error)}
            await send(message)

        await self._app(scope, receive, told if scope["type"] == "lifespan" else send)
