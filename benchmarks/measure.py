"""Times calls side by side, and says on what machine.

Machines are noisy, so nothing here is an absolute claim: calls that are to be compared take turns in one run, and
what is reported is their median, with the tenth and the ninetieth percentile as spread.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Call = Callable[[int], object]


@dataclass(frozen=True)
class Timing:
    """How long calls took, in seconds."""

    median: float
    low: float
    high: float
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        """Sum up single measurements."""
        low, median, high = np.percentile(seconds, (10, 50, 90)).tolist()
        return cls(median, low, high, len(seconds))


def time_interleaved(
    calls: Mapping[str, Call], *, min_rounds: int = 15, seconds: float = 2.0, warm_up: int = 2
) -> dict[str, Timing]:
    """Time several calls in turns, so that what disturbs the machine disturbs all alike.

    Args:
        calls: by name; each is given the number of the turn, to choose another query by.
        min_rounds: rounds in which every call takes part, however long they last.
        seconds: a quick call is repeated until it has had so much time.
        warm_up: turns that are not counted.
    """
    for turn in range(warm_up):
        for call in calls.values():
            call(turn)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    turn = 0
    while turn < min_rounds or any(sum(times) < seconds and turn < min_rounds * 50 for times in taken.values()):
        for name, call in calls.items():
            if turn < min_rounds or sum(taken[name]) < seconds:
                started = time.perf_counter()
                call(turn)
                taken[name].append(time.perf_counter() - started)
        turn += 1
    return {name: Timing.of(times) for name, times in taken.items()}


def read_all(words: np.typing.NDArray[np.uint64]) -> Call:
    """Return a call that reads an array `(n,)` once, in one thread and as fast as memory gives it."""
    # One pass over memory, and hardly any arithmetic: what a scan cannot be faster than.
    return lambda _turn: np.bitwise_or.reduce(words)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_of(process: int, kind: str = "VmRSS") -> int:
    """Return the bytes of memory that a process has, 0 where nobody knows.

    Args:
        process: its id.
        kind: the kernel's name for what counts: `VmRSS` for all, `RssAnon` without mapped files.
    """
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def machine() -> dict[str, str | int]:
    """Name the machine: processor, cores, memory, system, Python."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
