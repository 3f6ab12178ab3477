"""Inspect the processes of a PostgreSQL server by its PID file (Linux)."""

import time
from pathlib import Path

from app.common.processes import is_suspended

NAME = "postgres"
_EXIT_TIMEOUT_S = 10


def process_name(pid_file: Path) -> str | None:
    """Return the name of the process in a PID file: None without a process, empty if the file is damaged."""
    try:
        return Path(f"/proc/{_read_pid(pid_file)}/comm").read_text(errors="replace").strip()
    except ValueError:
        return ""
    except (FileNotFoundError, ProcessLookupError):
        return None


def suspended_pid(pid_file: Path) -> int | None:
    """Return the PID of a server that is suspended by a signal or debugger, else None."""
    pid = _pids(pid_file)[0]
    return pid if _is_suspended(pid) else None


def has_suspended_process(pid_file: Path) -> bool:
    """Return whether the server or one of its child processes is suspended by a signal or debugger."""
    return any(map(_is_suspended, _pids(pid_file)))


def clear_pid_file(path: Path) -> None:
    """Remove a stale PID file, with which PostgreSQL would refuse to start after a crash.

    Call this if nothing responds on the socket: the process of the PID file is dying, or another process has its PID,
    which is common in containers. A PID without a process is left to PostgreSQL, which then also checks for surviving
    child processes.
    """
    deadline = time.monotonic() + _EXIT_TIMEOUT_S
    while (name := process_name(path)) == NAME and time.monotonic() < deadline:
        time.sleep(0.05)
    if name not in (None, NAME):
        path.unlink()


def _pids(pid_file: Path) -> list[int]:
    """Return the PIDs of a server and its child processes; [0] without a server."""
    try:
        pid = _read_pid(pid_file)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, ValueError):
        return [0]
    return [pid, *map(int, children)]


def _is_suspended(pid: int) -> bool:
    return is_suspended(pid, NAME)


def _read_pid(pid_file: Path) -> int:
    return int(pid_file.read_text().partition("\n")[0])
