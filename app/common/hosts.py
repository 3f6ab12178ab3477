"""Parse and compare host names and origins by HTTP's rules (RFC 9110, 4.2.3).

Names are compared without case and trailing dot, addresses by value (`[0:0::1]` equals `::1`), and a scheme's default
port equals no port.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65_535
# Texts whose result is cached, because every request has some. Few: callers choose them, and may send 64 kB.
_CACHED = 64
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?", re.ASCII | re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)


@dataclass(frozen=True)
class Host:
    """A host name or address, normalised by `normal_name`, and the explicit port."""

    name: str
    port: int | None = None


@dataclass(frozen=True)
class Origin:
    """Origin of a page: scheme, host name and port, by default the scheme's."""

    scheme: str
    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.scheme}://{name}" + ("" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}")

    def has_host(self, host: Host) -> bool:
        """Whether the origin has the host and port of a request's `Host` header.

        The scheme is not compared: behind a proxy that terminates TLS the request itself is plain HTTP.
        """
        return self.name == host.name and self.port == (host.port or DEFAULT_PORTS.get(self.scheme))


@lru_cache(_CACHED)
def parse_host(text: str) -> Host | None:
    """Parse a `Host` header; returns None if it is invalid."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return None
    if match["name"].startswith("[") and parse_address(match["name"]) is None:
        return None
    return Host(normal_name(match["name"]), int(match["port"]) if match["port"] else None)


def parse_origin(text: str) -> Origin | None:
    """Parse an `Origin` header; returns None if it is invalid or `null`."""
    scheme, separator, authority = text.partition("://")
    host = parse_host(authority)
    if not separator or host is None or not _SCHEME.fullmatch(scheme.lower()):
        return None
    return Origin(scheme.lower(), host.name, host.port or DEFAULT_PORTS.get(scheme.lower()))


def normal_name(name: str) -> str:
    """Normalise a host name or address for comparison; IPv6 addresses lose their brackets."""
    address = parse_address(name)
    return name.lower().removesuffix(".") if address is None else str(address)


@lru_cache(_CACHED)
def parse_address(name: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address, with or without brackets; returns None for other host names."""
    try:
        return ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


@lru_cache(_CACHED)
def is_loopback(name: str) -> bool:
    """Whether a host name or address is the loopback interface."""
    address = parse_address(name)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return normal_name(name) == "localhost" if address is None else address.is_loopback


def parse_allowed_host(text: str) -> str:
    """Normalise a host name of LOOKALIKE_ALLOWED_HOSTS.

    Raises:
        ValueError: it is not a host name, or has a port.
    """
    host = parse_host(text)
    if host is None:
        raise ValueError(f"{text!r} is not a host name. Use names without scheme, path or wildcard: search.example")
    if host.port is not None:
        raise ValueError(f"{text!r} has a port. Remove it: host names are compared without ports")
    return host.name


def parse_cors_origin(text: str) -> str:
    """Normalise an origin of LOOKALIKE_CORS_ORIGINS to the form that browsers send.

    Raises:
        ValueError: it is not an origin.
    """
    origin = parse_origin(text.removesuffix("/"))
    if origin is None:
        raise ValueError(f"{text!r} is not an origin. Use scheme and host, without a path: https://shop.example")
    return str(origin)


def parse_trusted_proxy(text: str) -> str:
    """Normalise an address or network of LOOKALIKE_TRUSTED_PROXIES; `*` stands for any address.

    Raises:
        ValueError: it is neither an address nor a network.
    """
    if text == "*":
        return text
    try:
        return str(ip_network(text)) if "/" in text else str(ip_address(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address or network, such as 127.0.0.1 or 10.0.0.0/8: {error}") from error
