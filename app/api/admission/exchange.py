"""One request from its head to the end of its response, within the limits of its kind.

The body is counted and timed as it arrives, the request changes its place as it proceeds, and a large response is
passed on in pieces, so that what a slow client has not read yet stays here and not in the connection's buffer.
"""

import asyncio
from collections.abc import Hashable
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from app.api.admission.body_limit import Lane
from app.api.admission.data_rate import Pace
from app.api.admission.shares import Charge, Place, Shares
from app.errors import LookalikeError, OverloadedError, TooLargeError, TooSlowError

# Bytes of a response that are handed to the connection at a time.
PIECE = 65_536


class RefusedError(Exception):
    """The request is refused; `Exchange.refused` has the reason. Never leaves the middleware."""


class Exchange:
    """One request and its response.

    Attributes:
        refused: why the request is refused; what the application makes of it is then dropped.
        left: whether the client has closed the connection before its request was complete.
        charge: the bytes that it holds.
    """

    def __init__(self, lane: Lane, caller: Hashable, budget: Shares, receive: Receive, send: Send) -> None:
        self._lane, self._receive, self._send = lane, receive, send
        self._place, self._pace = Place(caller), Pace(lane.body.rate)
        self.charge = Charge(budget, caller)
        self.refused: LookalikeError | None = None
        self.left = False
        self._seen, self._complete, self._buffered, self._paid = 0, False, bytearray(), 0
        self._until = asyncio.get_running_loop().time() + lane.body.seconds

    async def begin(self, scope: Scope) -> None:
        """Takes a place, and reads the body where the application gets it whole.

        Raises:
            RefusedError: the request is too large, too slow or one too many.
        """
        headers = Headers(scope=scope)
        declared, lane = _declared(headers), self._lane
        if declared > lane.body.most:
            self._refuse(TooLargeError(lane.body.most))
        if not declared and "transfer-encoding" not in headers:
            self._complete = True
            self._enter(lane.working)
            return
        if not lane.working.fits(self._place.caller):
            self._refuse(OverloadedError())
        self._pay(declared)
        self._enter(lane.arriving)
        if lane.buffered:
            while not (self._complete or self.left):
                self._buffered += (await self._part()).get("body", b"")

    async def receive(self) -> Message:
        """Returns the next part of the body, for the application."""
        if self._buffered:
            body, self._buffered = bytes(self._buffered), bytearray()
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive() if self._complete else await self._part()

    async def send(self, message: Message) -> None:
        """Passes on a part of the response, from the application."""
        if self.refused is not None:
            return
        if message["type"] == "http.response.start":
            # Where no place is free for sending, the one for working is kept.
            self._place.move(self._lane.sending)
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self.charge.shrink(len(body))
        for at in range(0, len(body) or 1, PIECE):
            last = at + PIECE >= len(body)
            await self._send({**message, "body": body[at : at + PIECE], "more_body": more or not last})

    def end(self) -> None:
        """Gives up the place, and what is charged."""
        self._place.leave()
        self.charge.shrink()

    async def _part(self) -> Message:
        message = await self._next()
        if message["type"] == "http.disconnect":
            self.left = True
            return message
        size = len(message.get("body", b""))
        self._seen += size
        if self._seen > self._lane.body.most:
            self._refuse(TooLargeError(self._lane.body.most))
        self._pay(self._seen)
        if not message.get("more_body", False):
            self._complete = True
            if self._lane.working is not self._lane.arriving:
                self._enter(self._lane.working)
        return message

    async def _next(self) -> Message:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(min(self._until, began + self._pace.left_s)):
                message = await self._receive()
        except TimeoutError:
            late = loop.time() >= self._until
            self._refuse(TooSlowError(self._lane.body.seconds if late else None, self._lane.body.rate.least))
        self._pace.waited(loop.time() - began, len(message.get("body", b"")))
        return message

    def _pay(self, size: int) -> None:
        """Charges a body of this size, as far as it is not charged yet."""
        try:
            self.charge.add(self._lane.memory_factor * max(size - self._paid, 0))
        except OverloadedError as error:
            self._refuse(error)
        self._paid = max(size, self._paid)

    def _enter(self, pool: Shares) -> None:
        if not self._place.move(pool):
            self._refuse(OverloadedError())

    def _refuse(self, error: LookalikeError) -> NoReturn:
        # What the application makes of this is dropped, and the error is the response.
        self.refused = error
        raise RefusedError


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
