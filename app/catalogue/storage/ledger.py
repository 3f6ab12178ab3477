"""Notes of unfinished work on files, so that what a crash leaves behind can be found without listing everything.

Work writes a note before it begins: a file of a line for each thing that it may leave, locked until the work ends. A
process that is killed loses its locks, and work that fails leaves its note. So a note without a lock names what may
have to be cleaned up. Notes are not synced, and a power cut may lose them.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.catalogue.storage.fsync_guard import age
from app.common import private_modes as private

log = logging.getLogger(__name__)

_OLD_S = 86_400
# Before the path of a file, in the data folder, that is only needed while the work lasts.
_FILE = "file:"


@dataclass(frozen=True)
class Note:
    """What unfinished work left: its name, its process, and its lines but for those of files."""

    name: str
    process: int
    lines: list[str]


class Ledger:
    """A folder of notes, `PROCESS.RANDOM`. Processes of several machines may share it where locks work across them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def note(self, lines: Iterable[str] = ()) -> Iterator[str]:
        """Keeps a note for the length of the block, and leaves it there if the block raises.

        Yields:
            The note's name. A disk without room for a note has none for the work either, and the work says that
            better: it goes on without a note.
        """
        name = f"{os.getpid()}.{os.urandom(8).hex()}"
        with ExitStack() as held:
            with suppress(OSError):
                self._write(name, lines, held)
            yield name
            # One that stays is looked at once more, which does no harm.
            with suppress(OSError):
                (self._folder / name).unlink()

    def settle(self, clean_up: Callable[[Note], bool]) -> None:
        """Has each note that no work holds cleaned up, and deletes it if that returns True."""
        for path in self._folder.glob("[0-9]*.*"):
            with unless_held(path) as file:
                if file is None:
                    continue
                lines = file.read().decode(errors="replace").splitlines()
                for line in lines:
                    if line.startswith(_FILE):
                        (self._folder.parent / line.removeprefix(_FILE)).unlink(missing_ok=True)
                lines = [line for line in lines if not line.startswith(_FILE)]
                if path.stem.isdecimal() and clean_up(Note(path.name, int(path.stem), lines)):
                    path.unlink(missing_ok=True)

    def _write(self, name: str, lines: Iterable[str], held: ExitStack) -> None:
        private.make_folder(self._folder)
        file = held.enter_context(held_file(self._folder / name))
        file.write("\n".join(lines).encode())


def ledger_in(data_dir: Path) -> Ledger:
    """Returns the notes of a data folder."""
    return Ledger(data_dir / "under-way")


def held_file(path: Path) -> IO[bytes]:
    """Makes a file and locks it for as long as it is open, which a process that is killed has no longer."""
    while True:
        # Without a buffer nothing is left to write when a full disk has it closed.
        file = os.fdopen(private.create(path), "wb", buffering=0)
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        # A cleanup found it before it was locked, and deleted it.
        file.close()


@contextmanager
def unless_held(path: Path) -> Iterator[IO[bytes] | None]:
    """Opens a file that `held_file` made and locks it for the length of the block; yields None where work holds it.

    Where files cannot be locked, what was not written for a day counts as left over.
    """
    try:
        # For writing, without which NFS gives no exclusive lock.
        file = path.open("r+b")
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("%s is left for a later cleanup: %s", path, error.strerror)
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:
            free = age(path) > _OLD_S
        yield file if free else None
