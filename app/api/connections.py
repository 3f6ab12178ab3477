"""Limits of connections, whatever arrives over them."""

import resource
import sys
from dataclasses import dataclass

from app.api.data_rate import DataRate

# Where the application's lifespan state has the limits, for the protocol.
LIMITS = "connection_limits"
# File descriptors that connections leave to files, the database and child processes.
_OTHER_DESCRIPTORS = 256


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections.

    Attributes:
        most: open at the same time.
        rate: the least rate at which responses are read.
    """

    most: int
    rate: DataRate


def connections_within_descriptors(most: int) -> int:
    """Returns how many connections there may be, and raises this process's limit of file descriptors for them."""
    soft, hard = (sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in _descriptors())
    wanted = min(most + _OTHER_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, _descriptors()[1]))
        soft = wanted
    # Where there are very few descriptors, connections have half of them.
    return min(most, max(soft - _OTHER_DESCRIPTORS, soft // 2))


def _descriptors() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)
