"""Host names and origins, compared as HTTP compares them.

Names compare without case and without the dot that may end a DNS name, addresses by value (`[0:0::1]` is `::1`), and a
port that is the default of its scheme is the same as none (RFC 9110, 4.2.3).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

DEFAULT_PORTS = {"http": 80, "https": 443}
_HIGHEST_PORT = 65_535
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?", re.ASCII | re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)


@dataclass(frozen=True)
class Host:
    """A name or address, as `normal_name` has it, and the port that was given with it."""

    name: str
    port: int | None = None


@dataclass(frozen=True)
class Origin:
    """The site of a page: scheme, name and port; the scheme's default port where none was given."""

    scheme: str
    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.scheme}://{name}" + ("" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}")

    def is_of(self, host: Host) -> bool:
        """Whether a page of this origin was loaded from the host that a request names.

        A proxy that ends TLS leaves the scheme to the origin, so that is not compared.
        """
        return self.name == host.name and self.port == (host.port or DEFAULT_PORTS.get(self.scheme))


def parse_host(text: str) -> Host | None:
    """Returns what a `Host` header names; None where it is not a valid one."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or int(match["port"] or 0) > _HIGHEST_PORT:
        return None
    if match["name"].startswith("[") and address_of(match["name"]) is None:
        return None
    return Host(normal_name(match["name"]), int(match["port"]) if match["port"] else None)


def parse_origin(text: str) -> Origin | None:
    """Returns what an `Origin` header names; None where it is not a valid one, or `null`."""
    scheme, separator, authority = text.partition("://")
    host = parse_host(authority)
    if not separator or host is None or not _SCHEME.fullmatch(scheme.lower()):
        return None
    return Origin(scheme.lower(), host.name, host.port or DEFAULT_PORTS.get(scheme.lower()))


def normal_name(name: str) -> str:
    """Returns the form of a name or address that is equal for equal ones; IPv6 addresses have no brackets in it."""
    address = address_of(name)
    return name.lower().removesuffix(".") if address is None else str(address)


def address_of(name: str) -> IPv4Address | IPv6Address | None:
    """Returns the IP address that a name is, with or without brackets; None for any other name."""
    try:
        return ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Whether only programs of this machine can reach it by this name or address."""
    address = address_of(name)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return normal_name(name) == "localhost" if address is None else address.is_loopback


def allowed_host(text: str) -> str:
    """Return a name of LOOKALIKE_ALLOWED_HOSTS as requests are compared with it.

    Raises:
        ValueError: it is not a host name.
    """
    host = parse_host(text)
    if host is None:
        raise ValueError(f"{text!r} is not a host name. Give names without scheme, path or wildcard: search.example")
    if host.port is not None:
        raise ValueError(f"{text!r} has a port. Leave it out: names are compared without their ports")
    return host.name


def cors_origin(text: str) -> str:
    """Return an origin of LOOKALIKE_CORS_ORIGINS as browsers send it.

    Raises:
        ValueError: it is not an origin.
    """
    origin = parse_origin(text.removesuffix("/"))
    if origin is None:
        raise ValueError(f"{text!r} is not an origin. Give scheme and host, without a path: https://shop.example")
    return str(origin)


def trusted_proxy(text: str) -> str:
    """Return an address or network of LOOKALIKE_TRUSTED_PROXIES; `*` for any.

    Raises:
        ValueError: it is neither.
    """
    if text == "*":
        return text
    try:
        return str(ip_network(text)) if "/" in text else str(ip_address(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address or network, such as 127.0.0.1 or 10.0.0.0/8: {error}") from error
