"""The folder in which the worker processes of one server count together, a file of each process for each kind.

prometheus_client looks at `VARIABLE` when it is imported, so the folder has to be there before, and this file imports
nothing of it. What a worker that died has done stays counted, what it was doing does not.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from app.common.processes import is_alive

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "lookalike-metrics-"
# Who has just made a folder may not have its lock yet.
_YOUNG_S = 60.0


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Has processes that start within the block count together, and deletes what they counted at its end.

    Folders of servers that were killed go too: nobody holds their locks. A folder that somebody has chosen with
    `VARIABLE` is theirs to care for.
    """
    if VARIABLE in os.environ:
        yield Path(os.environ[VARIABLE])
        return
    # In memory where /tmp is; what is in it means nothing after a restart.
    made = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with made as folder, (Path(folder) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_abandoned(Path(folder).parent)
        os.environ[VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[VARIABLE]


def remove_abandoned(parent: Path) -> None:
    """Deletes the folders of servers that are no more."""
    for lock in parent.glob(f"{PREFIX}*/lock"):
        with suppress(OSError), lock.open("r+") as opened:
            state = os.fstat(opened.fileno())
            if state.st_uid == os.getuid() and time.time() - state.st_mtime > _YOUNG_S and _is_free(opened):
                shutil.rmtree(lock.parent)


def forget_the_dead(folder: Path) -> None:
    """Leaves out from now on what processes that have died were doing."""
    for file in folder.glob("gauge_live*.db"):
        if not is_alive(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
