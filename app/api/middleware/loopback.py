"""Detect requests of local programs, the only ones that a service without API keys accepts.

A reverse proxy on the same machine connects from loopback too. It is recognised by the headers that proxies add, and
by HTTP/1.0, which nginx before 1.29.7 uses towards its upstreams and current browsers and clients do not. A proxy that
adds no header and uses HTTP/1.1 cannot be distinguished from a local program; a service without keys warns of this
when it starts (`WITHOUT_KEYS`), and so does the documentation.
"""

from starlette.datastructures import Headers
from starlette.types import Scope

from app.common.hosts import Host, is_loopback, parse_host
from app.errors import ForbiddenError

NO_KEYS_WARNING = (
    "There are no API keys: every program on this machine may do everything, and so may every client of a reverse "
    "proxy on it that adds no header such as X-Forwarded-For. Before you use a proxy, create a key with "
    "`lookalike keys create NAME`."
)
ADVICE = "Create a key with `lookalike keys create NAME`, or set LOOKALIKE_AUTH=off if a proxy authenticates callers."
FORWARDING = ("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cdn-loop")
FORWARDING_PREFIXES = ("x-forwarded", "x-original-", "x-envoy-", "cf-")


def require_local(scope: Scope) -> None:
    """Reject a request that may come from another machine.

    The address is checked because a service that started with keys also listens on other interfaces. The host name is
    checked because without keys it is the only protection against DNS rebinding.

    Raises:
        ForbiddenError: the server's address or the host name is not loopback, or there is a sign of a proxy.
    """
    headers = Headers(scope=scope)
    address, _ = scope["server"] or ("nowhere", None)
    host = requested_host(headers)
    name = ", ".join(headers.getlist("host")) if host is None else host.name
    for value, local in ((address, is_loopback(address)), (name, host is not None and is_loopback(name))):
        if not local:
            raise ForbiddenError(
                "local_only",
                f"Requests to {value!r} need an API key: without keys only local requests are allowed. {ADVICE}",
            )
    if (sign := proxy_sign(scope["http_version"], headers)) is not None:
        raise ForbiddenError(
            "local_only",
            f"This request came through a proxy ({sign}): without API keys only local requests are allowed. {ADVICE}",
        )


def requested_host(headers: Headers) -> Host | None:
    """Return the host of the `Host` header; None if the header is missing, invalid or repeated."""
    values = headers.getlist("host")
    return parse_host(values[0]) if len(values) == 1 else None


def proxy_sign(http_version: str, headers: Headers) -> str | None:
    """Return the header or protocol version that shows that a request came through a proxy; None if none does."""
    for name in map(str.lower, headers.keys()):
        if name in FORWARDING or name.startswith(FORWARDING_PREFIXES):
            return name
    return "HTTP/1.0" if http_version == "1.0" else None
