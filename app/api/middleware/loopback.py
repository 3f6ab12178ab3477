"""Requests of this machine's own programs, which are all that a service without API keys answers.

A reverse proxy on the same machine connects from loopback as they do. It is recognised by the headers that proxies add,
and by HTTP/1.0, which nginx before 1.29.7 speaks to its upstreams and no browser or client of today does. A proxy that
adds nothing and speaks HTTP/1.1 to loopback cannot be told from a local program; the start of a service without keys
says so (`WITHOUT_KEYS`), and so does the documentation.
"""

from starlette.datastructures import Headers
from starlette.types import Scope

from app.common.hosts import Host, is_loopback, parse_host
from app.errors import ForbiddenError

WITHOUT_KEYS = (
    "There are no API keys: every program on this machine may do everything, and so may every client of a reverse "
    "proxy on it that adds no header such as X-Forwarded-For. Make a key before a proxy goes in front: "
    "`lookalike keys create NAME`."
)
ADVICE = "Make a key with `lookalike keys create NAME`, or set LOOKALIKE_AUTH=off where a proxy authenticates callers."
FORWARDING = ("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cdn-loop")
FORWARDING_PREFIXES = ("x-forwarded", "x-original-", "x-envoy-", "cf-")


def require_local(scope: Scope) -> None:
    """Refuses a request unless only a program on this machine can have sent it.

    The address counts, because a service that started with keys listens to others too. So does the name: without keys
    it is all that keeps a page of another site from having its own name resolved to this machine.

    Raises:
        ForbiddenError: the address or the name is not loopback, or there is a sign of a proxy.
    """
    headers = Headers(scope=scope)
    address, _ = scope["server"] or ("nowhere", None)
    host = requested_host(headers)
    name = ", ".join(headers.getlist("host")) if host is None else host.name
    for called, local in ((address, is_loopback(address)), (name, host is not None and is_loopback(name))):
        if not local:
            raise ForbiddenError(
                "local_only", f"Without API keys this service answers its own machine alone, not {called!r}. {ADVICE}"
            )
    if (sign := proxy_sign(scope["http_version"], headers)) is not None:
        raise ForbiddenError(
            "local_only",
            "Without API keys this service answers its own machine alone, and this request came through a proxy "
            f"({sign}). {ADVICE}",
        )


def requested_host(headers: Headers) -> Host | None:
    """Returns what the `Host` header names; None where it is missing, not valid, or there is more than one."""
    values = headers.getlist("host")
    return parse_host(values[0]) if len(values) == 1 else None


def proxy_sign(http_version: str, headers: Headers) -> str | None:
    """Returns what shows that a request came through a proxy: a header or the protocol; None where nothing does."""
    for name in map(str.lower, headers.keys()):
        if name in FORWARDING or name.startswith(FORWARDING_PREFIXES):
            return name
    return "HTTP/1.0" if http_version == "1.0" else None
