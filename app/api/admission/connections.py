"""Limits of connections, whatever arrives over them."""

import resource
import sys
from dataclasses import dataclass

from starlette.formparsers import MultiPartParser

from app.api.admission.data_rate import DataRate

# Where the application's lifespan state has the limits, for the protocol.
LIMITS = "connection_limits"
# File descriptors for files, the database and child processes; and the bytes of an upload that has one of its own,
# because Starlette keeps it in a temporary file.
_OTHER_DESCRIPTORS, _SPOOLED = 256, MultiPartParser.spool_max_size


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections.

    Attributes:
        most: open at the same time.
        rate: the least rate at which responses are read.
    """

    most: int
    rate: DataRate


def connections_within_descriptors(most: int, buffered_bytes: int) -> int:
    """Returns how many connections there may be, and raises this process's limit of file descriptors for them.

    Args:
        most: how many there should be.
        buffered_bytes: how many bytes requests may hold, which may all be in temporary files.
    """
    others = _OTHER_DESCRIPTORS + buffered_bytes // _SPOOLED
    soft, hard = (sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in _descriptors())
    wanted = min(most + others, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, _descriptors()[1]))
        soft = wanted
    # Where there are too few descriptors, connections have half of them.
    return min(most, max(soft - others, soft // 2))


def _descriptors() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)
