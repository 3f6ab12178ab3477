"""Connection limits, and the file descriptors that they need."""

import resource
import sys
from dataclasses import dataclass

from starlette.formparsers import MultiPartParser

from app.api.admission.data_rate import DataRate

# Key of the limits in the application's lifespan state.
LIMITS = "connection_limits"
# Descriptors for files, the database and child processes.
_OTHER_DESCRIPTORS = 256
# Starlette spools larger uploads to temporary files, which take a descriptor each.
_SPOOLED_UPLOAD_BYTES = MultiPartParser.spool_max_size


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a process's connections.

    Attributes:
        max_connections: open at the same time.
        rate: minimum rate at which clients read responses.
    """

    max_connections: int
    rate: DataRate


def connections_within_descriptors(wanted: int, buffered_bytes: int) -> int:
    """Raise the process's limit of file descriptors as needed; return how many connections fit.

    Args:
        wanted: desired number of connections.
        buffered_bytes: bytes that requests may hold, all of which may be in temporary files.
    """
    others = _OTHER_DESCRIPTORS + buffered_bytes // _SPOOLED_UPLOAD_BYTES
    soft, hard = (sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in _descriptor_limits())
    target = min(wanted + others, hard)
    if soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, _descriptor_limits()[1]))
        soft = target
    # If there are too few descriptors, connections get half of them.
    return min(wanted, max(soft - others, soft // 2))


def _descriptor_limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)
