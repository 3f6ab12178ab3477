"""Responds 503 before any work to a request that is one too many, and cuts off slow and oversized ones."""

from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.admission.exchange import Exchange, RefusedError
from app.api.admission.lanes import Lanes
from app.api.admission.shares import Shares
from app.api.middleware.callers import caller_of
from app.api.problems import respond

# Where a request's state has its caller, and the bytes that it is charged.
CALLER, CHARGE = "caller", "charge"


class Admission:
    """Admits requests by their number and bytes, in fair shares for callers.

    Args:
        app: the application.
        lanes: limits by kind of request.
        budget: bytes that all requests may hold.
    """

    def __init__(self, app: ASGIApp, lanes: Lanes, budget: Shares) -> None:
        self._app, self._lanes, self._budget = app, lanes, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on within its limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lane, caller = self._lanes.of(scope["method"], scope["path"]), caller_of(scope)
        exchange = Exchange(lane, caller, self._budget, receive, send)
        scope.setdefault("state", {}).update({CALLER: caller, CHARGE: exchange.charge})
        try:
            with suppress(RefusedError):
                await exchange.begin(scope)
                if not exchange.left:
                    await self._app(scope, exchange.receive, exchange.send)
        finally:
            exchange.end()
        if exchange.refused is not None:
            await respond(exchange.refused)(scope, receive, send)
