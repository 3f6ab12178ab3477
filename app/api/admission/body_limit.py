"""What a request may cost, by kind of request, and headers that every response carries."""

from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.admission.data_rate import DataRate
from app.api.admission.shares import Shares

# Health and metrics are answered even when the service is overloaded.
ALWAYS = ("/healthz", "/readyz", "/metrics")


@dataclass(frozen=True)
class BodyLimit:
    """How large a request body may be and how long it may take.

    Attributes:
        most: bytes.
        seconds: from its beginning to its end.
        rate: the least rate between.
    """

    most: int
    seconds: float
    rate: DataRate


@dataclass(frozen=True)
class Lane:
    """The limits of one kind of request.

    A request holds a place in one of the three pools: `arriving` until its body is complete, then `working` until
    its response begins, then `sending`. A slow client takes no place from requests that are worked on.

    Attributes:
        body: limits of its body.
        arriving, working, sending: places for its phases; `working` may be the same as `arriving`, for bodies that
            are worked on as they arrive.
        buffered: whether the body is read before the application is called.
        memory_factor: bytes of memory that a byte of the body is charged.
    """

    body: BodyLimit
    arriving: Shares
    working: Shares
    sending: Shares
    buffered: bool = True
    memory_factor: int = 1


class FixedHeaders:
    """Adds the same headers to every response."""

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and adds the headers to its response."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, marked)
