"""Confines a process that is about to read untrusted bytes: bounded memory, no files to write, first to be killed."""

import resource
import signal
from contextlib import suppress
from pathlib import Path

_OPEN_FILES = 64


def confine(memory_bytes: int) -> None:
    """Take from this process what reading untrusted bytes does not need, for good.

    Args:
        memory_bytes: address space that the process may have.
    """
    with suppress(OSError):  # not Linux, or a container without /proc
        # Where memory runs out after all, this process goes before any other.
        Path("/proc/self/oom_score_adj").write_text("1000")
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        resource.setrlimit(what, (most, most))
    # Ctrl-C in a terminal reaches every process; the service ends this one when it is done with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
