"""CPU and sleep time of another process, for time limits that do not depend on the machine's load.

Time that a process spends waiting for a CPU, waiting for swapped-out memory, or stopped does not count. Time in which
all its threads sleep does, so that a deadlock reaches the limit as well. The states are read from `/proc` on Linux;
elsewhere all time counts.
"""

import os
import time
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the program's name: state, user ticks, kernel ticks.
_STATE, _USER, _KERNEL = 0, 11, 12
_ASLEEP = "S"


class ProcessTime:
    """Measure a process's CPU and sleep time since construction.

    Call `seconds` often: a process that sleeps during a call is assumed to have slept since the previous call.

    Args:
        process: process id.
        max_sleep: most seconds of sleep that one call counts, because the caller may have been stopped meanwhile.
    """

    def __init__(self, process: int, max_sleep: float) -> None:
        self._folder, self._max_sleep = Path(f"/proc/{process}"), max_sleep
        self._initial_cpu, self._slept, self._sampled_at = self._cpu_seconds(), 0.0, time.monotonic()

    def seconds(self) -> float:
        """Return the seconds so far: CPU time of all cores, plus sleep."""
        now = time.monotonic()
        if self._is_asleep():
            self._slept += min(now - self._sampled_at, self._max_sleep)
        self._sampled_at = now
        return self._cpu_seconds() - self._initial_cpu + self._slept

    def _cpu_seconds(self) -> float:
        try:
            fields = _fields(self._folder)
        except OSError:
            return 0.0
        return (int(fields[_USER]) + int(fields[_KERNEL])) / _TICKS_PER_SECOND

    def _is_asleep(self) -> bool:
        try:
            return all(_fields(thread)[_STATE] == _ASLEEP for thread in (self._folder / "task").iterdir())
        except OSError:  # the process ended, or there is no /proc
            return True


def _fields(folder: Path) -> list[str]:
    # The program's name, in parentheses, may contain spaces and parentheses.
    return (folder / "stat").read_text().rpartition(")")[2].split()
