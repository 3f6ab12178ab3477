"""Supervision of a start: a deadline for each step, and signals that end the process at any point.

    begin(seconds=300, data_dir=Path("data"), log_form="auto")
    step("opening the network")
    …
    complete()

A start spends most of its time in native code, where neither another thread nor a Python signal handler is sure to
run: a thread that is stuck may hold the interpreter. So nothing here needs the interpreter once it is set up.

- Deadline: `faulthandler`'s timer, a thread of its own in C, writes the stacks of all threads to stderr and ends the
  process with exit code 1. Each step sets it again.
- SIGTERM, SIGINT, SIGHUP: their default action, which ends the process at once. A start acknowledges nothing, so it
  can be cut off anywhere, as by a crash.
- Afterwards the guard (`app/startup/guard.py`), a process of its own, logs which step was under way and stops the
  embedded PostgreSQL if no other process uses it.

One process has one start; the functions of this module are about that one.
"""

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from app.observability.log_format import Form

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# More than `struct sigaction` takes on any platform.
_SIGACTION_BYTES = 1024


class _Signals:
    """The dispositions of `SIGNALS`, in C: any thread may change them, which `signal.signal` allows only one."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        self._libc.signal.restype = ctypes.c_void_p
        self._before = dict[int, ctypes.Array[ctypes.c_char]]()

    def end_the_process(self) -> None:
        """Saves what the signals do, and has them end the process."""
        # The kernel ignores a signal's default action for the first process of a container, so that one calls _exit.
        ending = ctypes.cast(self._libc._exit, ctypes.c_void_p) if os.getpid() == 1 else ctypes.c_void_p(0)
        for number in SIGNALS:
            before = ctypes.create_string_buffer(_SIGACTION_BYTES)
            self._libc.sigaction(int(number), None, before)
            # Uvicorn sets its own when it starts, and that is what has to come back.
            if self._libc.signal(int(number), ending) != ending.value:
                self._before[number] = before

    def restore(self) -> None:
        """Has the signals do what they did before."""
        for number, before in self._before.items():
            self._libc.sigaction(int(number), before, None)


class _Start:
    """The start of this process: its deadline, signals, and guard."""

    def __init__(self, seconds: float, data_dir: Path | None, log_form: Form) -> None:
        self._seconds, self._signals = seconds, _Signals()
        guard = [sys.executable, "-P", "-m", "app.startup.guard", log_form, *([str(data_dir)] if data_dir else [])]
        self._guard = subprocess.Popen(  # noqa: S603 - our own program
            guard,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def step(self, name: str, *, bounded: bool) -> None:
        """Begins a step."""
        self._signals.end_the_process()
        faulthandler.cancel_dump_traceback_later()
        if bounded:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__ or 2)
        self._tell(f"{self._seconds if bounded else 0:g} {name}")

    def complete(self) -> None:
        """Ends the supervision."""
        faulthandler.cancel_dump_traceback_later()
        self._tell("complete")
        self._signals.restore()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()

    def _tell(self, line: str) -> None:
        # A guard that was killed is no reason to fail.
        with suppress(OSError):
            if self._guard.stdin is not None:
                self._guard.stdin.write(f"{line}\n".encode())
                self._guard.stdin.flush()


_changing = threading.Lock()
_start: _Start | None = None


def begin(seconds: float, data_dir: Path | None, log_form: Form) -> bool:
    """Begins to supervise the start of this process, until `complete`; returns False where that has begun before.

    Args:
        seconds: how long one step may take.
        data_dir: the data folder whose embedded PostgreSQL is stopped if the start is cut off; None where the
            database is another.
        log_form: how the guard writes to stderr.
    """
    global _start  # noqa: PLW0603 - signals and stacks belong to the process, and so does its start
    with _changing:
        if _start is not None:
            return False
        _start = _Start(seconds, data_dir, log_form)
        _start.step("starting", bounded=True)
        return True


def step(name: str, *, bounded: bool = True) -> None:
    """Begins a step of the start, with the whole time again; without a limit where it is not `bounded`."""
    with _changing:
        if _start is not None:
            _start.step(name, bounded=bounded)


def complete() -> None:
    """Ends the supervision: signals do again what they did before."""
    global _start  # noqa: PLW0603 - as above
    with _changing:
        if _start is not None:
            _start.complete()
        _start = None
