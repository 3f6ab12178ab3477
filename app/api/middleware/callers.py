"""Identify the caller of a request, for limits shared between callers."""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope

# Key of a request's state: the id of its API key.
KEY_ID = "key_id"
# One household or server usually has all addresses of such a network.
_IPV6_PREFIX = 64


def caller_of(scope: Scope) -> Hashable:
    """Return the id of a request's API key, or its client's address (IPv6: the /64 network) if it has no key."""
    key_id: int | None = scope.get("state", {}).get(KEY_ID)
    if key_id is not None:
        return ("key", key_id)
    host, _ = scope.get("client") or ("", 0)
    return ("address", _network(host))


def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return host
