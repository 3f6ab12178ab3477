"""Measure the cost of a block: wall-clock seconds, and on Linux peak memory above the baseline."""

import ctypes
import gc
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SELF = Path("/proc/self")


@dataclass
class Cost:
    """Measured cost.

    Attributes:
        seconds: wall-clock time.
        memory: peak memory minus memory in use before, in bytes; None where the system does not report it.
    """

    seconds: float = 0.0
    memory: int | None = None


@contextmanager
def measure_cost() -> Iterator[Cost]:
    """Measure the block; the yielded cost is filled in at its end."""
    cost = Cost()
    release_free_memory()
    before = reset_peak_memory()
    begun = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - begun
        most = _kilobytes("VmHWM") if before is not None else None
        if most is not None and before is not None:
            cost.memory = max(most - before, 0) * 1024


def release_free_memory() -> None:
    """Return freed memory to the system, so that a later block does not reuse it unmeasured."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak_memory() -> int | None:
    """Reset the kernel's peak memory counter; return the kilobytes in use, None where it is not supported."""
    try:
        # 5 resets the peak (proc_pid_clear_refs(5)).
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return None
    return _kilobytes("VmRSS")


def _kilobytes(name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB", (_SELF / "status").read_text(), re.MULTILINE)
    return int(found[1]) if found else None
