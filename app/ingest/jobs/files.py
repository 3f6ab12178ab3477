"""Archives that arrive for jobs, in the data folder: each has its name only when all of it is on the disk.

An archive is locked while it arrives, until its job is in the database. So a file that has neither a lock nor a job
that has not ended is left over: of an upload whose process was killed, or of a job that ended or was cancelled.
Several processes may share the folder.
"""

import logging
import secrets
from pathlib import Path
from types import TracebackType

from app.catalogue.database.sessions import Database
from app.catalogue.storage.fsync_guard import Disk
from app.catalogue.storage.ledger import held_file, unless_held
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.common import private_modes as private
from app.errors import UnavailableError
from app.ingest.jobs import rows as jobs

log = logging.getLogger(__name__)

_WHAT = "archives of jobs"


class JobFiles:
    """The folder of archives."""

    def __init__(self, folder: Path, disk: Disk, database: Database, cleanup: OrphanCleanup) -> None:
        self._folder, self._disk, self._database, self._cleanup = folder, disk, database, cleanup

    def path(self, archive: str) -> Path:
        """Returns where an archive lies."""
        return self._folder / archive

    def arrive(self, expected: int | None) -> "Arrival":
        """Begins to take an archive, of so many bytes where its sender has said so.

        Raises:
            UnavailableError: there is no room for it.
        """
        self._disk.require()
        private.make_folder(self._folder)
        self._disk.require_room(expected or 0)
        return Arrival(self._folder, self._disk)

    def remove(self, archive: str) -> None:
        """Deletes an archive that no job needs any more."""
        try:
            self.path(archive).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the archive %s is left for a later cleanup: %s", archive, error)

    def settle(self) -> None:
        """Deletes what ended work left: archives without an upload or a job, and originals that no picture uses."""
        self._cleanup.settle()
        try:
            self._delete_unused()
        except (UnavailableError, OSError) as error:
            log.warning("archives that no job needs are left for a later cleanup: %s", error)

    def _delete_unused(self) -> None:
        if not self._folder.is_dir():
            return
        there, needed = list(self._folder.iterdir()), self._needed()
        for path in there:
            if path.name not in needed and path.is_file():
                with unless_held(path) as left:
                    # A job that was committed before the upload let go of its file is in the database by now.
                    if left is not None and path.name not in self._needed():
                        path.unlink(missing_ok=True)

    def _needed(self) -> set[str]:
        with self._database.asking() as session:
            return jobs.archives_in_use(session)


class Arrival:
    """An archive that arrives; used as a context manager, which forgets what was not kept."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder, self._disk, self._name = folder, disk, secrets.token_hex(16)
        self.path = folder / f".{self._name}"
        self.size = 0

    def __enter__(self) -> "Arrival":
        self._file = held_file(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Takes a part of it.

        Raises:
            UnavailableError: there is no more room.
        """
        try:
            with self._disk.claimed(len(data)):
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
        except OSError as error:
            raise self._disk.refusal(error, _WHAT) from error
        self.size += len(data)

    def keep(self) -> str:
        """Gives it its name; when this returns it survives a power cut.

        Raises:
            UnavailableError: the disk has failed.
        """
        self._disk.sync(self._file.fileno())
        self.path.replace(self._folder / self._name)
        self._disk.sync_path(self._folder)
        return self._name
