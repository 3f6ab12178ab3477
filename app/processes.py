"""Which processes of this machine there still are."""

import os


def is_alive(process: int) -> bool:
    """Tells whether a process runs, whosever it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
