"""Ledger of unfinished file operations, for cleanup after a crash without listing all files.

An operation first writes a note: a file with one line for each file that it may leave behind, locked until it ends. A
killed process loses its locks, and a failed operation leaves its note. So an unlocked note lists files that may need
cleanup. Notes are not synced, and a power failure may lose them.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.catalogue.storage.fsync_guard import seconds_since_write
from app.common import private_modes

log = logging.getLogger(__name__)

_STALE_S = 86_400
# Prefix of a temporary file's path, relative to the data folder.
_FILE_PREFIX = "file:"


@dataclass(frozen=True)
class Note:
    """A note of an unfinished operation: name, PID, and lines, without those of temporary files."""

    name: str
    process: int
    lines: list[str]


class Ledger:
    """A folder of notes, named `PID.RANDOM`. Several machines may share it if its file system supports locks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def note(self, lines: Iterable[str] = ()) -> Iterator[str]:
        """Write a note, and delete it at the end of the block unless the block raises.

        Yields:
            The note's name. If the note cannot be written, the block still runs: on a full disk its own error is more
            useful.
        """
        name = f"{os.getpid()}.{os.urandom(8).hex()}"
        with ExitStack() as stack:
            with suppress(OSError):
                self._write(name, lines, stack)
            yield name
            # A note that stays costs one more cleanup.
            with suppress(OSError):
                (self._folder / name).unlink()

    def clean_up(self, clean_up: Callable[[Note], bool]) -> None:
        """Call `clean_up` for each unlocked note, and delete the note if it returns True."""
        for path in self._folder.glob("[0-9]*.*"):
            with open_unlocked(path) as file:
                if file is None:
                    continue
                lines = file.read().decode(errors="replace").splitlines()
                for line in lines:
                    if line.startswith(_FILE_PREFIX):
                        (self._folder.parent / line.removeprefix(_FILE_PREFIX)).unlink(missing_ok=True)
                lines = [line for line in lines if not line.startswith(_FILE_PREFIX)]
                if path.stem.isdecimal() and clean_up(Note(path.name, int(path.stem), lines)):
                    path.unlink(missing_ok=True)

    def _write(self, name: str, lines: Iterable[str], stack: ExitStack) -> None:
        private_modes.make_folder(self._folder)
        file = stack.enter_context(create_locked(self._folder / name))
        file.write("\n".join(lines).encode())


def ledger_in(data_dir: Path) -> Ledger:
    """Return the ledger of a data folder."""
    return Ledger(data_dir / "under-way")


def create_locked(path: Path) -> IO[bytes]:
    """Create a file that is locked while it is open; the kernel releases the lock of a killed process."""
    while True:
        # Unbuffered, so that closing it on a full disk cannot fail.
        file = os.fdopen(private_modes.create_file(path), "wb", buffering=0)
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        # A cleanup deleted it before it was locked.
        file.close()


@contextmanager
def open_unlocked(path: Path) -> Iterator[IO[bytes] | None]:
    """Open and lock a file created by `held_file`; yield None if another process holds it.

    Without file locks, a file counts as stack for a day after its last write.
    """
    try:
        # NFS needs write access for an exclusive lock.
        file = path.open("r+b")
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("cleanup of %s is postponed: %s", path, error.strerror)
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:
            free = seconds_since_write(path) > _STALE_S
        yield file if free else None
