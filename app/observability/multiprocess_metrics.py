"""Shared folder for prometheus_client's multiprocess mode: one file per worker process and kind of metric.

prometheus_client reads `FOLDER_VARIABLE` when it is imported, so the folder must exist before, and this module imports
prometheus_client only inside a function. Counters of a dead worker are kept, its gauges are removed.
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

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "lookalike-metrics-"
# A process that has just created its folder may not hold the lock yet.
_MIN_AGE_S = 60.0


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Set up a folder for the processes that start within the block, and delete it afterwards.

    Folders of killed servers, whose locks are free, are deleted too. A folder that is already set in
    `FOLDER_VARIABLE` is used and not deleted.
    """
    if FOLDER_VARIABLE in os.environ:
        yield Path(os.environ[FOLDER_VARIABLE])
        return
    # In /tmp, which may be in memory: the content is useless after a restart.
    temporary = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with temporary as folder, (Path(folder) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_abandoned(Path(folder).parent)
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ[FOLDER_VARIABLE]


def remove_abandoned(parent: Path) -> None:
    """Delete the folders of servers that no longer run."""
    for path in parent.glob(f"{PREFIX}*/lock"):
        with suppress(OSError), path.open("r+") as lock:
            status = os.fstat(lock.fileno())
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _MIN_AGE_S and _is_free(lock):
                shutil.rmtree(path.parent)


def remove_dead_gauges(folder: Path) -> None:
    """Delete the gauge files of dead processes."""
    from prometheus_client.multiprocess import mark_process_dead

    for process in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        if not is_alive(process):
            # Another worker may be deleting the same files.
            with suppress(FileNotFoundError):
                mark_process_dead(process, str(folder))


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
