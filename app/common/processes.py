"""State of other processes on this machine."""

import os
from pathlib import Path


def is_alive(process: int) -> bool:
    """Whether a process runs, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_suspended(process: int, name: str) -> bool:
    """Whether a process of this name is stopped by a signal or a debugger (Linux)."""
    try:
        # The name is in brackets and may contain any character, including brackets.
        before, _, after = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return False
    return before.partition("(")[2] == name and after.split()[0] in ("T", "t")
