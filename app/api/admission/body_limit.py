"""Limits by kind of request, and fixed response headers."""

from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.admission.data_rate import DataRate
from app.api.admission.fair_limit import FairLimit

# Answered even when the service is overloaded.
MONITORING_PATHS = ("/healthz", "/readyz", "/metrics")


@dataclass(frozen=True)
class BodyLimit:
    """Size and time limits of a request body.

    Attributes:
        max_bytes: size limit.
        timeout_s: seconds from its first to its last byte.
        rate: minimum transfer rate.
    """

    max_bytes: int
    timeout_s: float
    rate: DataRate


@dataclass(frozen=True)
class RequestClass:
    """The limits of one kind of request.

    A request holds a permit of one of three limits: `arriving` until its body is complete, then `working` until its
    response begins, then `sending`. So a slow client never occupies a permit for work.

    Attributes:
        body: limits of the body.
        arriving, working, sending: concurrency limits of the phases; `working` may be the same object as `arriving`,
            for bodies that are processed as they arrive.
        buffered: whether the body is read before the application is called.
        memory_factor: bytes of memory charged for each byte of the body.
    """

    body: BodyLimit
    arriving: FairLimit
    working: FairLimit
    sending: FairLimit
    buffered: bool = True
    memory_factor: int = 1


class FixedHeaders:
    """Middleware that adds the same headers to every response."""

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers that the response does not set itself."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
