"""Apply the forwarding headers of reverse proxies: the client's address, the scheme and the root path.

Proxies may remove the root path from the request's path or not. Either way the scope's path includes the root path, as
ASGI specifies, and URLs in responses work for the client.
"""

import logging
import os
from collections.abc import Collection
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.api.problem_codes import ProblemCode
from app.api.problems import problem_response
from app.common.root_path import parse_root_path

log = logging.getLogger(__name__)

PREFIX_HEADER = "x-forwarded-prefix"
# Used without LOOKALIKE_TRUSTED_PROXIES; the default of uvicorn's FORWARDED_ALLOW_IPS.
DEFAULT_TRUSTED = "127.0.0.1"
_REDIRECTS = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)


class ForwardedMiddleware:
    """Middleware that applies the root path, and the forwarding headers of trusted proxies.

    Args:
        app: the application.
        root_path: root path without `X-Forwarded-Prefix`.
        trusted: addresses and networks of proxies. If there are none, `X-Forwarded-Prefix` is ignored, and the other
            headers are those of the proxies in FORWARDED_ALLOW_IPS, by default on this machine.
    """

    def __init__(self, app: ASGIApp, root_path: str = "", trusted: Collection[str] = ()) -> None:
        self._root_path, self._trusts_prefix = root_path, bool(trusted)
        hosts = list(trusted) or os.environ.get("FORWARDED_ALLOW_IPS", DEFAULT_TRUSTED)
        self._app = app
        # uvicorn's ASGI types differ from Starlette's in name only.
        self._proxied: Any = ProxyHeadersMiddleware(cast("Any", app), hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the root path, the client's address and the scheme."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            root_path = self._root_path_of(scope)
        except ValueError as error:
            detail = f"The header X-Forwarded-Prefix {error}."
            log.warning("request rejected: %s", detail)
            await problem_response(HTTPStatus.BAD_REQUEST, detail, ProblemCode.BAD_REQUEST)(scope, receive, send)
            return
        if root_path:
            _set_root_path(scope, root_path)
        await self._proxied(scope, receive, _relative(send))

    def _root_path_of(self, scope: Scope) -> str:
        sent = Headers(scope=scope).getlist(PREFIX_HEADER) if self._trusts_prefix else []
        client, _ = scope.get("client") or (None, 0)
        if not sent or client not in self._proxied.trusted_hosts:
            return self._root_path
        # Several proxies add one prefix each, the outermost first.
        return parse_root_path("".join(part.strip().rstrip("/") for value in sent for part in value.split(",")))


def _set_root_path(scope: Scope, root_path: str) -> None:
    scope["root_path"] = root_path
    path: str = scope["path"]
    if path != root_path and not path.startswith(f"{root_path}/"):
        scope["path"] = root_path + path
        if raw_path := scope.get("raw_path"):
            scope["raw_path"] = root_path.encode() + raw_path


def _relative(send: Send) -> Send:
    """Wrap `send` to remove scheme and host from the locations of redirects, because proxies may change the host."""

    async def send_relative(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in _REDIRECTS:
            headers = MutableHeaders(scope=message)
            target = urlsplit(headers.get("location", ""))
            headers["location"] = f"{target.path}?{target.query}" if target.query else target.path
        await send(message)

    return send_relative
