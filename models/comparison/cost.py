"""What a piece of work costs: seconds, and memory beyond what was in use before it (Linux alone tells the most)."""

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
    """What work took.

    Attributes:
        seconds: by the clock.
        memory: the most bytes in use at a time, less those in use before; None where the system does not tell.
    """

    seconds: float = 0.0
    memory: int | None = None


@contextmanager
def measure_cost() -> Iterator[Cost]:
    """Measure what runs inside; the cost that it yields is filled in at the end."""
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
    """Hand freed memory back to the system, else the next piece of work would take it up unseen."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak_memory() -> int | None:
    """Has the kernel forget the most memory in use so far; returns the kilobytes in use now, None where it cannot."""
    try:
        # 5 is the kernel's own word for it (proc_pid_clear_refs(5)).
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return None
    return _kilobytes("VmRSS")


def _kilobytes(name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB", (_SELF / "status").read_text(), re.MULTILINE)
    return int(found[1]) if found else None
