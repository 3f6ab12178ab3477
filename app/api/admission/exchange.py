"""One request and its response, within the limits of the request's class.

The body is counted and timed as it arrives, the request switches permits as it proceeds, and a large response is sent
in chunks, so that what a slow client has not read yet stays in the application and not in the connection's buffer.
"""

import asyncio
from collections.abc import Hashable
from typing import NoReturn

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from app.api.admission.body_limit import RequestClass
from app.api.admission.data_rate import GracePeriod
from app.api.admission.fair_limit import Charge, FairLimit, Permit
from app.errors import LookalikeError, OverloadedError, TooLargeError, TooSlowError, UnreadableBodyError

# Bytes of a response that are written to the connection at a time.
SEND_CHUNK_BYTES = 65_536


class RejectedError(Exception):
    """The request is rejected; `Exchange.rejection` has the reason. Never leaves the middleware."""


class Exchange:
    """ASGI `receive` and `send` of one request, with its limits applied.

    Attributes:
        rejection: why the request is rejected; the application's response is then dropped.
        disconnected: whether the client closed the connection before its request was complete.
        charge: bytes of memory charged to the request.
    """

    def __init__(
        self, request_class: RequestClass, caller: Hashable, budget: FairLimit, receive: Receive, send: Send
    ) -> None:
        self._request_class, self._receive, self._send = request_class, receive, send
        self._permit, self._grace = Permit(caller), GracePeriod(request_class.body.rate)
        self.charge = Charge(budget, caller)
        self.rejection: LookalikeError | None = None
        self.disconnected = False
        self._received, self._complete, self._buffered, self._charged = 0, False, bytearray(), 0
        self._deadline = asyncio.get_running_loop().time() + request_class.body.timeout_s

    async def start(self, scope: Scope) -> None:
        """Acquire a permit, and read the body if its class is buffered.

        Raises:
            RejectedError: the request is too large, too slow, unreadable, or over the concurrency or memory limit.
        """
        headers = Headers(scope=scope)
        declared, request_class = _content_length(headers), self._request_class
        if declared > request_class.body.max_bytes:
            self._reject(TooLargeError(request_class.body.max_bytes))
        if not declared and "transfer-encoding" not in headers:
            self._complete = True
            self._acquire(request_class.working)
            return
        if not request_class.working.can_acquire(self._permit.caller):
            self._reject(OverloadedError())
        self._charge_body(declared)
        self._acquire(request_class.arriving)
        if request_class.buffered:
            while not (self._complete or self.disconnected):
                self._buffered += (await self._receive_part()).get("body", b"")

    async def receive(self) -> Message:
        """Return the next part of the body to the application."""
        if self._buffered:
            body, self._buffered = bytes(self._buffered), bytearray()
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive() if self._complete else await self._receive_part()

    async def send(self, message: Message) -> None:
        """Send a part of the application's response, in chunks."""
        if self.rejection is not None:
            return
        if message["type"] == "http.response.start":
            # If no permit for sending is free, the one for working is kept.
            self._permit.switch_to(self._request_class.sending)
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self.charge.shrink(len(body))
        for at in range(0, len(body) or 1, SEND_CHUNK_BYTES):
            last = at + SEND_CHUNK_BYTES >= len(body)
            await self._send({**message, "body": body[at : at + SEND_CHUNK_BYTES], "more_body": more or not last})

    def close(self) -> None:
        """Release the permit and the charged memory."""
        self._permit.release()
        self.charge.shrink()

    async def _receive_part(self) -> Message:
        message = await self._receive_in_time()
        if message["type"] == "http.disconnect":
            self.disconnected = True
            return message
        size = len(message.get("body", b""))
        self._received += size
        if self._received > self._request_class.body.max_bytes:
            self._reject(TooLargeError(self._request_class.body.max_bytes))
        self._charge_body(self._received)
        if not message.get("more_body", False):
            self._complete = True
            if self._request_class.working is not self._request_class.arriving:
                self._acquire(self._request_class.working)
        return message

    async def _receive_in_time(self) -> Message:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(min(self._deadline, began + self._grace.remaining_s)):
                message = await self._receive()
        except TimeoutError:
            late = loop.time() >= self._deadline
            self._reject(
                TooSlowError(
                    self._request_class.body.timeout_s if late else None, self._request_class.body.rate.bytes_per_s
                )
            )
        except UnreadableBodyError as error:
            self._reject(error)
        self._grace.record(loop.time() - began, len(message.get("body", b"")))
        return message

    def _charge_body(self, size: int) -> None:
        """Charge a body of this size, less what is already charged."""
        try:
            self.charge.add(self._request_class.memory_factor * max(size - self._charged, 0))
        except OverloadedError as error:
            self._reject(error)
        self._charged = max(size, self._charged)

    def _acquire(self, limit: FairLimit) -> None:
        if not self._permit.switch_to(limit):
            self._reject(OverloadedError())

    def _reject(self, error: LookalikeError) -> NoReturn:
        # The response is built from this error; the application's own response is dropped.
        self.rejection = error
        raise RejectedError


def _content_length(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
