"""Which processes of this machine there still are."""

import os
from pathlib import Path


def is_alive(process: int) -> bool:
    """Tells whether a process runs, whosever it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_suspended(process: int, name: str) -> bool:
    """Tells whether a process of this name is stopped by a signal or a debugger (Linux)."""
    try:
        # The name is in brackets and may hold any character, brackets too.
        before, _, after = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return False
    return before.partition("(")[2] == name and after.split()[0] in ("T", "t")
