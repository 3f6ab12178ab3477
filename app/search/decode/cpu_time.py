"""How long a process takes of its own: time in which it computes, or waits for nothing but itself.

A limit on what a picture costs must not depend on what else the machine does. So time in which a process waits for a
processor, for memory that was swapped out, or is stopped does not count; time in which all its threads sleep does, so
that a deadlock ends as well. Linux tells the one from the other (`/proc`); elsewhere all time counts.
"""

import os
import time
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Of a line of /proc/…/stat after the program's name: the state, and the ticks in the program and in the kernel.
_STATE, _USER, _KERNEL = 0, 11, 12
_ASLEEP = "S"


class OwnTime:
    """Counts from its construction. Call `seconds` often: what sleeps then is taken to have slept since the last call.

    Args:
        process: its id.
        longest: seconds of sleep that one call counts at most, because the caller may have been stopped meanwhile.
    """

    def __init__(self, process: int, longest: float) -> None:
        self._folder, self._longest = Path(f"/proc/{process}"), longest
        self._before, self._slept, self._looked = self._computed(), 0.0, time.monotonic()

    def seconds(self) -> float:
        """Returns the time so far: of all processors together, and asleep."""
        now = time.monotonic()
        if self._is_asleep():
            self._slept += min(now - self._looked, self._longest)
        self._looked = now
        return self._computed() - self._before + self._slept

    def _computed(self) -> float:
        try:
            fields = _fields(self._folder)
        except OSError:
            return 0.0
        return (int(fields[_USER]) + int(fields[_KERNEL])) / _TICKS_A_SECOND

    def _is_asleep(self) -> bool:
        try:
            return all(_fields(thread)[_STATE] == _ASLEEP for thread in (self._folder / "task").iterdir())
        except OSError:  # it has ended, or there is no /proc
            return True


def _fields(folder: Path) -> list[str]:
    # The name, in brackets, may have blanks and brackets in it.
    return (folder / "stat").read_text().rpartition(")")[2].split()
