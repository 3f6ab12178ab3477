"""Memory that the service shares with one decode process: an image on its way there, pixels on their way back.

The memory is anonymous (memfd), so it needs no file system: containers limit /dev/shm to 64 MB. It is allocated and
sealed before the process starts. A process that an image has taken over can therefore neither shrink it, which would
end the service with SIGBUS, nor let it grow. What it contains is not trusted.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Larger images are sent through the socket; decoding one takes so long that the copies do not matter.
MIN_BYTES = 2_097_152


@contextmanager
def shared_memory(size: int) -> Iterator[tuple[mmap.mmap, int]]:
    """Allocate memory of this many bytes; yield it and its descriptor, which is closed when the block ends.

    Raises:
        OSError: the system has none, does not support it, or forbids it.
    """
    if not hasattr(os, "memfd_create"):
        raise OSError("the system does not support memfd_create")
    descriptor = os.memfd_create("lookalike-decode", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        # Allocated here, so that a lack of memory is an error of this call and never a SIGBUS later.
        os.posix_fallocate(descriptor, 0, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        yield mmap.mmap(descriptor, size), descriptor
    finally:
        os.close(descriptor)
