"""The code file of a data folder: the code table of the active index version as of one `seq`.

    DATA_DIR/codes/codes.bin   read at the start, instead of all codes in the database
    DATA_DIR/codes/lock        held by the process that writes a new file

It is a copy: without it, or if it cannot be used, a start reads the database. It may be deleted at any time.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from sqlalchemy.orm import Session

from app.catalogue.code_files.registry import is_registered, register
from app.catalogue.database.sessions import Database
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.common import private_modes
from app.search.local import code_file
from app.search.local.coarse import CodeTable
from app.search.local.code_file import CodeFileError, CodeFileHeader, SavedTable

log = logging.getLogger(__name__)

_Saved = tuple[SavedTable, int]

FOLDER, NAME = "codes", "codes.bin"


class CodeFileStore:
    """Reads and replaces the code file for one index version. Process-safe.

    Args:
        folder: the folder of the file; created when a file is written.
        index_version_id: the index version.
        table: the code table of this process.
        disk: refuses writes after a failed sync, and on a full disk.
    """

    def __init__(self, folder: Path, index_version_id: int, table: CodeTable, disk: FsyncGuard | None = None) -> None:
        self.path, self._disk = folder / NAME, disk or FsyncGuard()
        self._index_version_id, self._table = index_version_id, table

    def load(self, session: Session) -> int:
        """Fill the table from the file; return its `seq`, or -1 if there is no file that can be used.

        Args:
            session: a snapshot of the database; the caller applies its changes since the returned `seq`.
        """
        try:
            seq = self.read(session)
        except FileNotFoundError:
            return -1
        except (CodeFileError, OSError) as error:
            log.warning("Code file %s not used: %s. Reading the codes from the database.", self.path, error)
            return -1
        if seq is None:
            log.info("Code file %s not used: it is of another catalogue or of an earlier history.", self.path)
            return -1
        log.info("%d codes, as of change %d, read from %s", len(self._table), seq, self.path)
        return seq

    def read(self, session: Session) -> int | None:
        """Fill the table from the file; return its `seq`, or None if the file is not of this database.

        Raises:
            CodeFileError: the file is damaged, or of another format.
            OSError: it cannot be read.
        """
        with self.path.open("rb", buffering=0) as file:
            header = code_file.read_header(file)
            if not self._is_own(session, header):
                return None
            self._table.load(code_file.read_table(file, header))
        return header.seq

    def save(self, database: Database, at_one_seq: Callable[[Callable[[], _Saved]], tuple[int, _Saved]]) -> bool:
        """Replace the file by the table of this process, unless another process is doing so.

        A file that is as recent is kept.

        Args:
            database: the catalogue's database.
            at_one_seq: calls a function that reads the table, and returns the `seq` of what it read; see `IndexSync`.

        Returns:
            False if the file is still older than the table.

        Raises:
            UnavailableError: the database is unavailable, or the disk is full or has failed.
        """
        private_modes.make_folder(self.path.parent)
        with self._locked() as locked:
            if not locked:
                return False
            seq, (saved, state) = at_one_seq(self._table.saved)
            done = self._is_recent(database, seq, saved) or self._replace(database, seq, saved)
        if done:
            self._table.set_saved(state)
        return done

    def _is_own(self, session: Session, header: CodeFileHeader) -> bool:
        return header.index_version_id == self._index_version_id and is_registered(
            session, header.id, header.index_version_id, header.seq
        )

    def _is_recent(self, database: Database, seq: int, table: SavedTable) -> bool:
        """Return whether the file there is usable and has all that `table` has, as far as its header says."""
        with suppress(OSError, CodeFileError):
            with self.path.open("rb", buffering=0) as file:
                header = code_file.read_header(file)
            with database.read_session() as session:
                own = self._is_own(session, header)
            return own and header.seq >= seq and (header.listed > 0 or not table.snapshot.lists.end)
        return False

    def _replace(self, database: Database, seq: int, table: SavedTable) -> bool:
        for left in self.path.parent.glob(f".{NAME}.*"):
            left.unlink()
        file_id = uuid4().hex
        new = self.path.with_name(f".{NAME}.{file_id}")
        try:
            with self._disk.reserved(code_file.size_of(table)), os.fdopen(private_modes.create_file(new), "wb") as file:
                code_file.write(file, file_id, self._index_version_id, seq, table)
                file.flush()
                self._disk.sync(file.fileno())
            with database.transaction() as session:
                # Before the file has its name: a file that is not registered is never used.
                if not register(session, file_id, self._index_version_id, seq):
                    return False
            new.replace(self.path)
            self._disk.sync_path(self.path.parent)
        except OSError as error:
            raise self._disk.translate_error(error, "code file") from error
        finally:
            new.unlink(missing_ok=True)
        log.info("%d codes, as of change %d, written to %s", table.snapshot.count, seq, self.path)
        return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock of the file while the block runs; yield False if another process has it."""
        fd = os.open(self.path.with_name("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, private_modes.FILE)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # Held by another process, or the file system has no locks.
                yield False
            else:
                yield True
        finally:
            os.close(fd)
