"""Admission middleware: respond 503 when the concurrency limit is reached, and reject slow and oversized requests."""

from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.admission.exchange import Exchange, RejectedError
from app.api.admission.fair_limit import FairLimit
from app.api.admission.request_classes import RequestClasses
from app.api.middleware.callers import caller_of
from app.api.paths import app_path
from app.api.problems import error_response

# Keys of a request's state: its caller, and the memory charged to it.
CALLER, CHARGE = "caller", "charge"


class AdmissionMiddleware:
    """Limits the number and memory of concurrent requests, shared fairly between callers.

    Args:
        app: the application.
        request_classes: limits by kind of request.
        budget: memory limit of all requests together, in bytes.
    """

    def __init__(self, app: ASGIApp, request_classes: RequestClasses, budget: FairLimit) -> None:
        self._app, self._request_classes, self._budget = app, request_classes, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application within the limits of the request's class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_class, caller = self._request_classes.of(scope["method"], app_path(scope)), caller_of(scope)
        exchange = Exchange(request_class, caller, self._budget, receive, send)
        scope.setdefault("state", {}).update({CALLER: caller, CHARGE: exchange.charge})
        try:
            with suppress(RejectedError):
                await exchange.start(scope)
                if not exchange.disconnected:
                    await self._app(scope, exchange.receive, exchange.send)
        finally:
            exchange.close()
        if exchange.rejection is not None:
            await error_response(exchange.rejection)(scope, receive, send)
