"""Interleaved timing of calls, and a description of the machine.

Machines are noisy, so absolute times mean little: compared calls alternate in one run, and results are their medians
with the 10th and 90th percentiles.
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
    """Durations of calls, in seconds."""

    median: float
    low: float
    high: float
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        """Summarise single measurements."""
        low, median, high = np.percentile(seconds, (10, 50, 90)).tolist()
        return cls(median, low, high, len(seconds))


def time_interleaved(
    calls: Mapping[str, Call], *, min_rounds: int = 15, seconds: float = 2.0, warm_up: int = 2, burst: int = 1
) -> dict[str, Timing]:
    """Time several calls alternately, so that disturbances affect all alike.

    Args:
        calls: by name; each gets the round's number, to select a query.
        min_rounds: minimum number of rounds for every call.
        seconds: minimum total time of a quick call.
        warm_up: rounds before the measurement.
        burst: turns that a call takes in a row, so that the caches hold what it reads, as in a series of searches.
    """
    for turn in range(warm_up):
        for call in calls.values():
            call(turn)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    turn = 0
    while turn < min_rounds or any(sum(times) < seconds and turn < min_rounds * 50 for times in taken.values()):
        for name, call in calls.items():
            if turn < min_rounds or sum(taken[name]) < seconds:
                for now in range(turn, turn + burst):
                    started = time.perf_counter()
                    call(now)
                    taken[name].append(time.perf_counter() - started)
        turn += burst
    return {name: Timing.of(times) for name, times in taken.items()}


def read_all(words: np.typing.NDArray[np.uint64]) -> Call:
    """Return a call that reads an array `(n,)` once, in one thread, at memory bandwidth."""
    # One pass over memory with hardly any arithmetic: a lower bound for scans.
    return lambda _turn: np.bitwise_or.reduce(words)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_of(process: int, kind: str = "VmRSS") -> int:
    """Return the bytes of memory of a process, 0 if unknown.

    Args:
        process: its id.
        kind: the kernel's field: `VmRSS` for all, `RssAnon` without mapped files.
    """
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def machine() -> dict[str, str | int]:
    """Describe the machine: processor, cores, memory, system, Python."""
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
