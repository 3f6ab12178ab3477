"""Notes of unfinished work on files, so that what a crash leaves behind can be found without listing everything.

Work writes a note before it begins: a file of a line for each thing that it may leave, locked until the work ends. A
process that is killed loses its locks, and work that fails leaves its note. So a note without a lock names what may
have to be cleaned up. Notes are not synced, and a power cut may lose them.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app import private


@dataclass(frozen=True)
class Note:
    """What unfinished work left: its name, its process and its lines."""

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

    def settle(self, clean_up: Callable[[Note], None]) -> None:
        """Takes each note that no work holds, and deletes it unless `clean_up` raises; other notes stay."""
        for path in self._folder.glob("[0-9]*.*"):
            with suppress(FileNotFoundError, BlockingIOError), ExitStack() as held:
                # A note is locked by its writer before the folder is free.
                with _locked(self._folder, fcntl.LOCK_EX):
                    file = held.enter_context(path.open())
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clean_up(Note(path.name, int(path.stem), file.read().split()))
                path.unlink(missing_ok=True)

    def _write(self, name: str, lines: Iterable[str], held: ExitStack) -> None:
        private.make_folder(self._folder)
        with _locked(self._folder, fcntl.LOCK_SH):
            file = held.enter_context(private.create(self._folder / name))
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write("\n".join(lines).encode())


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, how)
        yield
    finally:
        os.close(opened)
