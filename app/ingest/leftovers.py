"""What an addition or a deletion leaves on disk when it is cut off, and who clears it away.

Whoever is about to put or remove originals notes them before: in a file of their hashes, one a line, that stays locked
as long as the work goes on. A process that is killed lets go of its locks, and work that fails leaves its note behind.
So a note that nobody holds tells the next start which originals to look at, and nothing has to be listed for that.
Notes are not synced: after a power cut `lookalike check` may find more.
"""

import fcntl
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from app.catalogue import changes
from app.catalogue.database import Database
from app.catalogue.picture_store import PictureStore
from app.errors import UnavailableError
from app.processes import is_alive

log = logging.getLogger(__name__)


class Leftovers:
    """Notes in a folder, `PROCESS.RANDOM`, about originals of one catalogue."""

    def __init__(self, folder: Path, database: Database, files: PictureStore) -> None:
        self._folder, self._database, self._files = folder, database, files

    @contextmanager
    def noted(self, hashes: Collection[str]) -> Iterator[None]:
        """Has the next start look at these originals unless the block ends well."""
        with ExitStack() as held:
            note = None
            # Where there is no room for a note there is none for pictures, and that says so better.
            with suppress(OSError):
                note = self._write(hashes, held) if hashes else None
            yield
            if note is not None:
                # One that stays has a start look once more.
                with suppress(OSError):
                    note.unlink()

    def discard(self, sha256: str) -> None:
        """Deletes an original that no picture uses any more.

        What this is called after is committed. So a failure here is no failure of that: the next start tries again.
        """
        try:
            remove_unused(self._database, self._files, sha256)
        except (UnavailableError, OSError) as error:
            log.warning("the original %s is left where it is, unused: %s", sha256, error)
            with suppress(OSError), ExitStack() as held:
                self._write([sha256], held)

    def clear(self) -> None:
        """Deletes what nobody uses of the originals in abandoned notes."""
        for note in self._folder.glob("[0-9]*.*"):
            try:
                self._settle(note)
            except (FileNotFoundError, BlockingIOError):
                # It is settled, or somebody holds it.
                continue
            except (UnavailableError, OSError) as error:
                log.warning("what %s speaks of is left for the next start: %s", note, error)

    def _settle(self, note: Path) -> None:
        with ExitStack() as held:
            # Whoever writes a note has it locked once the folder is free.
            with _locked(self._folder, fcntl.LOCK_EX):
                file = held.enter_context(note.open())
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = int(note.stem)
            for sha256 in file.read().split():
                # Of a process that is still there work failed, and that tidies up.
                if process == os.getpid() or not is_alive(process):
                    self._files.remove_unfinished(sha256, process)
                remove_unused(self._database, self._files, sha256)
            note.unlink(missing_ok=True)

    def _write(self, hashes: Collection[str], held: ExitStack) -> Path:
        """Writes a note, and locks it for as long as `held` lasts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        note = self._folder / f"{os.getpid()}.{os.urandom(8).hex()}"
        with _locked(self._folder, fcntl.LOCK_SH):
            # Without a buffer there is nothing left to write when a full disk has it closed.
            file = held.enter_context(note.open("xb", buffering=0))
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write("\n".join(hashes).encode())
        return note


def remove_unused(database: Database, files: PictureStore, sha256: str) -> None:
    """Deletes an original unless a picture uses it; an addition that is just storing it notices.

    Raises:
        UnavailableError: the database or the bucket cannot be reached, or a backup is under way.
    """
    with database.begin() as session:
        if not changes.is_used(session, sha256):
            files.remove(sha256)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, how)
        yield
    finally:
        os.close(opened)
