"""Supervise the start of the process: a deadline for each step, and signals that end it at any point.

    begin(seconds=300, data_dir=Path("data"), log_format="auto")
    step("opening the network")
    …
    complete()

A start spends most of its time in native code, where other threads and Python signal handlers may not run, since a
stuck thread may hold the GIL. So after its setup the supervision does not need the interpreter.

- Deadline: `faulthandler`'s timer, a thread in C, writes the stacks of all threads to stderr and ends the process with
  exit code 1. Each step restarts it.
- SIGTERM, SIGINT, SIGHUP: their default action, which ends the process at once. Nothing is acknowledged during a
  start, so it may end at any point, as in a crash.
- After an interrupted start the guard (`app/startup/guard.py`), a separate process, logs the current step and stops
  the embedded PostgreSQL if no other process uses it.

The state is global, since a process starts once.
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

from app.observability.log_format import LogFormat

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Larger than `struct sigaction` on any platform.
_SIGACTION_BYTES = 1024


class _Signals:
    """Signal dispositions of `SIGNALS`, set through libc, because `signal.signal` works only in the main thread."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        self._libc.signal.restype = ctypes.c_void_p
        self._before = dict[int, ctypes.Array[ctypes.c_char]]()

    def set_default_action(self) -> None:
        """Save the dispositions, and let the signals end the process."""
        # The kernel ignores the default action for PID 1 of a container, so there the handler is _exit.
        action = ctypes.cast(self._libc._exit, ctypes.c_void_p) if os.getpid() == 1 else ctypes.c_void_p(0)
        for number in SIGNALS:
            before = ctypes.create_string_buffer(_SIGACTION_BYTES)
            self._libc.sigaction(int(number), None, before)
            # uvicorn sets its handlers during the start; these must be restored later.
            if self._libc.signal(int(number), action) != action.value:
                self._before[number] = before

    def restore(self) -> None:
        """Restore the saved dispositions."""
        for number, before in self._before.items():
            self._libc.sigaction(int(number), before, None)


class _Start:
    """Supervision of this process's start: deadline, signals and guard."""

    def __init__(self, seconds: float, data_dir: Path | None, log_format: LogFormat) -> None:
        self._seconds, self._signals = seconds, _Signals()
        guard = [sys.executable, "-P", "-m", "app.startup.guard", log_format, *([str(data_dir)] if data_dir else [])]
        self._guard = subprocess.Popen(  # noqa: S603 - our own program
            guard,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def step(self, name: str, *, bounded: bool) -> None:
        """Begin a step and restart its deadline."""
        self._signals.set_default_action()
        faulthandler.cancel_dump_traceback_later()
        if bounded:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__ or 2)
        self._send(f"{self._seconds if bounded else 0:g} {name}")

    def complete(self) -> None:
        """End the supervision and wait for the guard to exit."""
        faulthandler.cancel_dump_traceback_later()
        self._send("complete")
        self._signals.restore()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()

    def _send(self, line: str) -> None:
        # A killed guard must not fail the start.
        with suppress(OSError):
            if self._guard.stdin is not None:
                self._guard.stdin.write(f"{line}\n".encode())
                self._guard.stdin.flush()


_lock = threading.Lock()
_start: _Start | None = None


def begin(seconds: float, data_dir: Path | None, log_format: LogFormat) -> bool:
    """Begin to supervise the start of this process, until `complete`; returns False if it is supervised already.

    Args:
        seconds: timeout of each step.
        data_dir: data folder whose embedded PostgreSQL is stopped if the start is interrupted; None for another
            database.
        log_format: format of the guard's log lines.
    """
    global _start  # noqa: PLW0603 - signals and stacks belong to the process, and so does its start
    with _lock:
        if _start is not None:
            return False
        _start = _Start(seconds, data_dir, log_format)
        _start.step("starting", bounded=True)
        return True


def step(name: str, *, bounded: bool = True) -> None:
    """Begin a step of the start, with a new deadline, or none if it is not `bounded`."""
    with _lock:
        if _start is not None:
            _start.step(name, bounded=bounded)


def complete() -> None:
    """End the supervision and restore the signal handlers."""
    global _start  # noqa: PLW0603 - as above
    with _lock:
        if _start is not None:
            _start.complete()
        _start = None
