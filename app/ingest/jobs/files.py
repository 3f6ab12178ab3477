"""Archive files of jobs in the data folder; an archive is renamed to its final name once it is synced.

An archive is locked from the start of its upload until its job is committed. A file without a lock and without a
running job is therefore an orphan, of a killed upload or a finished job. Several processes may share the folder.
"""

import logging
import secrets
from pathlib import Path
from types import TracebackType

from app.catalogue.database.sessions import Database
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.storage.ledger import create_locked, open_unlocked
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.common import private_modes
from app.errors import UnavailableError
from app.ingest.jobs import rows as jobs

log = logging.getLogger(__name__)

_WHAT = "archives of jobs"


class JobFiles:
    """The folder of archives."""

    def __init__(self, folder: Path, disk: FsyncGuard, database: Database, cleanup: OrphanCleanup) -> None:
        self._folder, self._disk, self._database, self._cleanup = folder, disk, database, cleanup

    def path(self, archive: str) -> Path:
        """The path of an archive."""
        return self._folder / archive

    def begin_upload(self, expected: int | None) -> "ArchiveUpload":
        """Begin an upload; `expected` is its size in bytes, if the client declared it.

        Raises:
            UnavailableError: there is not enough disk space.
        """
        self._disk.require_healthy()
        private_modes.make_folder(self._folder)
        self._disk.require_room(expected or 0)
        return ArchiveUpload(self._folder, self._disk)

    def remove(self, archive: str) -> None:
        """Delete the archive of a finished job."""
        try:
            self.path(archive).unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot delete the archive %s now, a later cleanup will: %s", archive, error)

    def delete_orphans(self) -> None:
        """Delete orphans: archives without an upload or a running job, and originals that no image uses."""
        self._cleanup.run()
        try:
            self._delete_unused()
        except (UnavailableError, OSError) as error:
            log.warning("cannot delete orphaned archives now, a later cleanup will: %s", error)

    def _delete_unused(self) -> None:
        if not self._folder.is_dir():
            return
        paths, needed = list(self._folder.iterdir()), self._needed()
        for path in paths:
            if path.name not in needed and path.is_file():
                with open_unlocked(path) as unlocked:
                    # Checked again under the lock: an upload commits its job before it unlocks the file.
                    if unlocked is not None and path.name not in self._needed():
                        path.unlink(missing_ok=True)

    def _needed(self) -> set[str]:
        with self._database.read_session() as session:
            return jobs.archives_in_use(session)


class ArchiveUpload:
    """An upload in progress; a context manager that deletes the archive unless `keep` was called."""

    def __init__(self, folder: Path, disk: FsyncGuard) -> None:
        self._folder, self._disk, self._name = folder, disk, secrets.token_hex(16)
        self.path = folder / f".{self._name}"
        self.size = 0

    def __enter__(self) -> "ArchiveUpload":
        self._file = create_locked(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            UnavailableError: the disk is full.
        """
        try:
            with self._disk.reserved(len(data)):
                remaining = memoryview(data)
                while remaining:
                    remaining = remaining[self._file.write(remaining) :]
        except OSError as error:
            raise self._disk.translate_error(error, _WHAT) from error
        self.size += len(data)

    def commit(self) -> str:
        """Sync the archive and rename it; return its name.

        Raises:
            UnavailableError: the disk cannot be synced.
        """
        self._disk.sync(self._file.fileno())
        self.path.replace(self._folder / self._name)
        self._disk.sync_path(self._folder)
        return self._name
