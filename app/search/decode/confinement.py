"""Confine a process before it reads untrusted bytes: no files, no network, no other processes, bounded memory.

Call `confine` once, after every needed module is imported and every needed descriptor is open, and before the first
untrusted byte is read. Mechanisms that the kernel lacks are skipped; the result lists those in force.
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
from app.search.decode import landlock, seccomp

_OPEN_FILES = 64
_START_S = 60.0
_NO_NEW_PRIVILEGES = 38


@dataclass(frozen=True)
class Confinement:
    """Kernel sandboxing mechanisms that are in force.

    Attributes:
        landlock: Landlock ABI version; 0 if unsupported.
        seccomp: whether a filter restricts the process to a short list of system calls.
    """

    landlock: int
    seccomp: bool

    @property
    def complete(self) -> bool:
        """Whether both Landlock and seccomp are in force."""
        return bool(self.landlock) and self.seccomp

    @property
    def summary(self) -> str:
        """Summary for logs and command output."""
        if self.seccomp:
            mechanisms = f"Landlock {self.landlock}, seccomp" if self.landlock else "seccomp; the kernel lacks Landlock"
            return f"Decode processes cannot open files or connections ({mechanisms})."
        if self.landlock:
            return (
                f"Decode processes cannot open files (Landlock {self.landlock}), but the kernel lacks seccomp filters: "
                "other system calls are not restricted. See SECURITY.md."
            )
        return (
            "The kernel lacks Landlock and seccomp filters: an image that exploits a decoder could read files and open "
            "connections. See SECURITY.md."
        )


def probe_confinement() -> Confinement:
    """Start and confine a process to find which mechanisms this machine supports.

    Raises:
        UnavailableError: the process does not start.
    """
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", "app.search.decode.confinement"]
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=_START_S)  # noqa: S603 - no shell, no input
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"A confined process cannot be started: {error}") from error
    return Confinement(**json.loads(ended.stdout))


def confine(memory_bytes: int, cpu_seconds: int | None = None) -> Confinement:
    """Restrict this process permanently; return the mechanisms in force.

    Call it while the process has one thread: Landlock applies to the calling thread and to threads started by it
    later. In a process with other threads it is reported as not in force.

    Args:
        memory_bytes: address space limit.
        cpu_seconds: CPU time after which the kernel ends the process; None for no limit.
    """
    _prefer_as_oom_victim()
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if cpu_seconds is not None:
        _limit(resource.RLIMIT_CPU, cpu_seconds)
    # Ctrl-C in a terminal reaches every process of the group; the service ends this one itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return Confinement(0, False) if not _no_new_privileges() else Confinement(_landlock(), _seccomp())


def _prefer_as_oom_victim() -> None:
    with suppress(OSError):  # not Linux, or a container without /proc
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit(kind: int, value: int) -> None:
    """Set soft and hard resource limits, unless the hard limit is already lower."""
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _no_new_privileges() -> bool:
    """Set PR_SET_NO_NEW_PRIVS, which Landlock and seccomp require: setuid programs gain no privileges."""
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
        seccomp.restrict()
    except OSError:
        return False
    return True


def _survives_seccomp() -> bool:
    """Try the filter in a forked child, where allocating memory and starting threads must still work.

    Emulators (a container for another architecture) may number system calls differently, and a filter cannot be
    removed.
    """
    child = os.fork()
    if child == 0:
        try:
            seccomp.restrict()
            thread = threading.Thread(target=bytearray, args=(10_000_000,))
            thread.start()
            thread.join()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(confine(2**30))))
