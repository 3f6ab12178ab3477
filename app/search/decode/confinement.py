"""Confines a process that is about to read untrusted bytes: no files, no network, no other processes, bounded memory.

Call `confine` once, with every module imported and every descriptor open that will be needed, before the first
untrusted byte. Where the kernel lacks a part of it the rest still holds, and what is in force is returned.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import UnavailableError
from app.search.decode import landlock
from app.search.decode import seccomp as system_calls

_OPEN_FILES = 64
_START_S = 60.0
_NO_NEW_PRIVILEGES = 38


@dataclass(frozen=True)
class Confinement:
    """What of the kernel's means is in force.

    Attributes:
        landlock: the version of Landlock; 0 where there is none.
        seccomp: whether a filter allows a short list of system calls alone.
    """

    landlock: int
    seccomp: bool

    @property
    def complete(self) -> bool:
        """Whether both are."""
        return bool(self.landlock) and self.seccomp

    @property
    def sentence(self) -> str:
        """Says what it means for processes that read what others sent."""
        if self.seccomp:
            means = f"Landlock {self.landlock}, seccomp" if self.landlock else "seccomp; the kernel offers no Landlock"
            return f"Processes that decode pictures can open no file and no connection ({means})."
        if self.landlock:
            return (
                f"Processes that decode pictures can open no file (Landlock {self.landlock}), but the kernel offers no "
                "seccomp filter here: some system calls stay open to them. See SECURITY.md."
            )
        return (
            "The kernel offers neither Landlock nor seccomp filters here: a picture that takes over its decoder could "
            "read files and open connections. See SECURITY.md."
        )


def offered() -> Confinement:
    """Returns what is in force in processes that are confined on this machine, by confining one.

    Raises:
        UnavailableError: it does not start.
    """
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", "app.search.decode.confinement"]
    try:
        told = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=_START_S)  # noqa: S603 - no shell, no input
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"A confined process cannot be started: {error}") from error
    return Confinement(**json.loads(told.stdout))


def confine(memory_bytes: int, cpu_seconds: int | None = None) -> Confinement:
    """Takes from this process what reading untrusted bytes does not need, for good; returns what is in force.

    Call it while the process has one thread: Landlock holds for the thread that asks for it and those that it starts,
    and is not counted as in force where there are others.

    Args:
        memory_bytes: address space that the process may have.
        cpu_seconds: processor time after which the kernel ends the process; None for no limit.
    """
    _go_first_where_memory_runs_out()
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if cpu_seconds is not None:
        _limit(resource.RLIMIT_CPU, cpu_seconds)
    # Ctrl-C in a terminal reaches every process; the service ends this one when it is done with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return Confinement(0, False) if not _no_new_privileges() else Confinement(_landlock(), _seccomp())


def _go_first_where_memory_runs_out() -> None:
    with suppress(OSError):  # not Linux, or a container without /proc
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit(what: int, most: int) -> None:
    """Sets a limit, or leaves the one that is lower already."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _no_new_privileges() -> bool:
    """What Landlock and seccomp ask for first: programs started from here gain nothing by being setuid."""
    try:
        return bool(ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0)
    except AttributeError:  # not Linux
        return False


def _landlock() -> int:
    try:
        threads = len(list(Path("/proc/self/task").iterdir()))
        version = landlock.restrict()
    except OSError:
        return 0
    return version if threads == 1 else 0


def _seccomp() -> bool:
    if not _survives_seccomp():
        return False
    try:
        system_calls.restrict()
    except OSError:
        return False
    return True


def _survives_seccomp() -> bool:
    """Tries the filter in a copy of this process: memory and threads have to work with it.

    Emulators (a container of another processor) may number system calls otherwise, and a filter cannot be taken back.
    """
    child = os.fork()
    if child == 0:
        try:
            system_calls.restrict()
            thread = threading.Thread(target=bytearray, args=(10_000_000,))
            thread.start()
            thread.join()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(confine(2**30))))
