"""Decompress request bodies with `Content-Encoding: gzip`; respond 415 to other encodings.

Runs before the admission middleware, so that its limits apply to decompressed bytes: a body that decompresses to more
than the limit is rejected with 413 while at most `CHUNK_BYTES` of it are in memory here.
"""

import asyncio
import zlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import error_response
from app.errors import UnreadableBodyError, UnsupportedEncodingError

# Bytes that are decompressed at a time.
CHUNK_BYTES = 65_536
# Values of `Content-Encoding` for gzip (RFC 9110, 8.4.1.3), and for no encoding.
GZIP, IDENTITY = ("gzip", "x-gzip"), ("identity", "")
_GZIP_WBITS = 16 + zlib.MAX_WBITS


class ContentEncodingMiddleware:
    """Middleware that decompresses request bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the decompressed body, whose length is not known in advance."""
        encodings = _encodings(scope) if scope["type"] == "http" else []
        if not encodings:
            await self._app(scope, receive, send)
            return
        if len(encodings) > 1 or encodings[0] not in GZIP:
            await error_response(UnsupportedEncodingError(", ".join(encodings)))(scope, receive, send)
            return
        replaced = (b"content-encoding", b"content-length", b"transfer-encoding")
        headers = [(name, value) for name, value in scope["headers"] if name not in replaced]
        scope["headers"] = [*headers, (b"transfer-encoding", b"chunked")]
        await self._app(scope, GzipBody(receive).receive, send)


def _encodings(scope: Scope) -> list[str]:
    """Return the encodings of a request's body, in lower case; empty if there is no body or nothing to decode."""
    headers = Headers(scope=scope)
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return []
    names = (name.strip().lower() for name in ",".join(headers.getlist("content-encoding")).split(","))
    return [name for name in names if name not in IDENTITY]


class GzipBody:
    """Decompressed body of a request.

    Args:
        receive: returns the compressed body.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._inflater = zlib.decompressobj(wbits=_GZIP_WBITS)
        self._compressed, self._more_output = b"", False
        self._received, self._complete = False, False

    async def receive(self) -> Message:
        """Return at most `CHUNK_BYTES` of the body; after its end, the server's next message.

        Raises:
            UnreadableBodyError: the body is not valid gzip, or incomplete.
        """
        while not self._complete:
            if body := self._inflate():
                # Let other requests run, because a small body can decompress to many chunks.
                await asyncio.sleep(0)
                return {"type": "http.request", "body": body, "more_body": True}
            if self._received:
                return self._end()
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._compressed = message.get("body", b"")
            self._received = not message.get("more_body", False)
        return await self._receive()

    def _inflate(self) -> bytes:
        """Return the next decompressed bytes; empty if more of the body is needed."""
        while self._compressed or self._more_output:
            if self._inflater.eof:
                # The next member (RFC 1952, 2.2); some programs pad with zeros.
                self._compressed = self._compressed.lstrip(b"\0")
                if not self._compressed:
                    break
                self._inflater = zlib.decompressobj(wbits=_GZIP_WBITS)
            try:
                data = self._inflater.decompress(self._compressed, CHUNK_BYTES)
            except zlib.error as error:
                raise UnreadableBodyError("is not valid gzip, although its Content-Encoding is gzip") from error
            ended = self._inflater.eof
            self._compressed = self._inflater.unused_data if ended else self._inflater.unconsumed_tail
            self._more_output = len(data) == CHUNK_BYTES and not ended
            if data:
                return data
        return b""

    def _end(self) -> Message:
        if not self._inflater.eof:
            raise UnreadableBodyError("is incomplete: its gzip data ends too soon")
        self._complete = True
        return {"type": "http.request", "body": b"", "more_body": False}
