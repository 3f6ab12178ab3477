"""The processes of a PostgreSQL server, found by the file in which it keeps its process number (Linux).

It knows nothing of connections.
"""

import time
from pathlib import Path

from app.common.processes import is_suspended

NAME = "postgres"
DYING_S = 10


def name_of(pid_file: Path) -> str | None:
    """Return the name of the process that a file's first line numbers: None without one, empty when damaged."""
    try:
        return Path(f"/proc/{_number(pid_file)}/comm").read_text(errors="replace").strip()
    except ValueError:
        return ""
    except (FileNotFoundError, ProcessLookupError):
        return None


def suspended(pid_file: Path) -> int | None:
    """Return the number of a server's process where a signal or a debugger has stopped that, else None."""
    server = _processes(pid_file)[0]
    return server if _is_suspended(server) else None


def is_disturbed(pid_file: Path) -> bool:
    """Tell whether a process of a server is stopped by a signal or a debugger, its own or one that serves."""
    return any(map(_is_suspended, _processes(pid_file)))


def clear_pid_file(path: Path) -> None:
    """Remove what would make PostgreSQL believe, after a crash, that it runs already.

    Nothing answers on the socket, so the process that the file names is dying, or gone and its number taken: a
    container hands out the same numbers again. A number without a process is left to PostgreSQL, which then
    also looks for children that survive.
    """
    deadline = time.monotonic() + DYING_S
    while (name := name_of(path)) == NAME and time.monotonic() < deadline:
        time.sleep(0.05)
    if name not in (None, NAME):
        path.unlink()


def _processes(pid_file: Path) -> list[int]:
    """Return a server's process and its children; 0, which is no process, where there is none."""
    try:
        server = _number(pid_file)
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    except (OSError, ValueError):
        return [0]
    return [server, *map(int, children)]


def _is_suspended(process: int) -> bool:
    return is_suspended(process, NAME)


def _number(pid_file: Path) -> int:
    return int(pid_file.read_text().partition("\n")[0])
