"""Whose request it is, for limits that callers share."""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope

# Where a request's state has the id of its API key.
KEY_ID = "key_id"
# A household or a server usually has all addresses of such a network.
_IPV6_PREFIX = 64


def caller_of(scope: Scope) -> Hashable:
    """Returns the API key of a request by its id, or its client's address where it shows no key."""
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
