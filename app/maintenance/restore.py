"""Restore a backup into an empty catalogue, completely or not at all.

Rows are loaded into tables of the backup's revision, which are then migrated to this version. This is done twice: first
to find what the backup lacks, then rolled back; and again, once all files are copied, and committed. A restore that
fails or is killed leaves the catalogue empty: files that it copied are deleted at once, or at the next start.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.catalogue.advisory_registry import VersionUse, lock_holders
from app.catalogue.database.locks import Lock, lock_if_free
from app.catalogue.database.migrations import downgraded
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import ApiKey, Base, Deletion, FeatureSet, Image, IndexVersion, Job, TrashedImage
from app.catalogue.storage import deletion_queue
from app.catalogue.storage.ledger import ledger_in
from app.catalogue.storage.local import LocalStorage, content_hash
from app.catalogue.storage.orphan_cleanup import remove_unused
from app.catalogue.storage.protocol import ImageStorage
from app.catalogue.vectors import hole_punching
from app.common import private_modes
from app.errors import LookalikeError, UnavailableError
from app.ingest.jobs import rows as jobs
from app.maintenance.backup import TABLES
from app.maintenance.backup_manifest import Manifest, read_manifest
from app.maintenance.restore_check import (
    ExpectedContents,
    MissingContents,
    find_missing,
    missing_originals,
    read_contents,
)
from app.maintenance.table_files import check_tables, read_rows

# Tables with serial ids, and the columns with all ids ever assigned; ids of deleted images are not reused.
_SERIALS = {
    FeatureSet: [FeatureSet.id],
    IndexVersion: [IndexVersion.id],
    Image: [Image.id, Deletion.image_id],
    ApiKey: [ApiKey.id],
    Job: [Job.id],
}
_ARCHIVE_NOT_RESTORED = (
    "The catalogue was restored from a backup, which has no archives. Upload the archive again; entries that "
    "were added before the backup stay as they are."
)
# Originals copied per batch.
_BATCH = 16

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class RestoreResult:
    """The number of restored images, what is missing, and a message for each network that is not on this machine."""

    pictures: int
    missing: MissingContents
    missing_networks: list[str]


@dataclass(frozen=True)
class _Restore:
    """The restore of one backup into one catalogue."""

    database: Database
    pictures: ImageStorage
    data_dir: Path
    manifest: Manifest
    allow_missing: bool

    def run(self, report: Report) -> RestoreResult:
        contents = self._dry_run()
        # The note lists these files, so that cleanup deletes them if the restore is interrupted.
        files = {f".restoring-{vectors.path.name}": vectors.path for vectors in contents.vectors}
        folder = self.data_dir / "vectors"
        with ledger_in(self.data_dir).note([*contents.sizes, *(f"file:vectors/{name}" for name in files)]):
            try:
                damaged = self._copy_originals(contents, report)
                private_modes.make_folder(folder)
                for name, path in files.items():
                    if path.exists():
                        hole_punching.copy_sparse(str(path), str(folder / name))
                # Files must be on disk before the rows that refer to them are committed.
                os.sync()
                return self._commit(contents, damaged, [folder / name for name in files])
            except BaseException:
                with suppress(UnavailableError):
                    remove_unused(self.database, self.pictures, contents.sizes)
                raise
            finally:
                for name in files:
                    (folder / name).unlink(missing_ok=True)

    def _dry_run(self) -> ExpectedContents:
        """Load the rows, check the backup against them, and roll back."""
        with self.database.connection_transaction() as connection:
            self._load(connection)
            with Session(connection) as session:
                contents = read_contents(session, self.manifest)
                self._require_complete(find_missing(session, contents, missing_originals(self.manifest, contents)))
            connection.rollback()
        return contents

    def _copy_originals(self, contents: ExpectedContents, report: Report) -> set[str]:
        """Copy originals; return those missing or damaged. After the first of these, only check the others."""
        source, hashes, lost = LocalStorage(self.manifest.source / "pictures"), list(contents.sizes), set[str]()
        for first in range(0, len(hashes), _BATCH):
            batch = hashes[first : first + _BATCH]
            intact = {sha256: data for sha256 in batch if (data := _intact(source, sha256)) is not None}
            lost |= set(batch) - set(intact)
            if not lost or self.allow_missing:
                self.pictures.store(intact)
            report(first + len(batch), len(hashes))
        return lost

    def _commit(self, contents: ExpectedContents, lost: Collection[str], files: Sequence[Path]) -> RestoreResult:
        with self.database.connection_transaction() as connection:
            self._load(connection)
            with Session(connection) as session:
                lacks = find_missing(session, contents, lost)
            self._require_complete(lacks)
            for file in files:
                if file.exists():
                    file.replace(file.with_name(file.name.removeprefix(".restoring-")))
            _sync(self.data_dir / "vectors")
        return RestoreResult(self.manifest.pictures, lacks, contents.checkpoints)

    def _load(self, connection: Connection) -> None:
        """Load the rows into empty tables."""
        _require_empty(connection)
        manifest = self.manifest
        try:
            for table in reversed(TABLES):
                connection.execute(delete(table))
            with downgraded(connection, manifest.revision):
                for name, columns in manifest.columns.items():
                    read_rows(connection, name, columns, manifest.table(name))
            for table, assigned in _SERIALS.items():
                _advance_serial(connection, table, assigned)
            jobs.fail_running(connection, _ARCHIVE_NOT_RESTORED)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            reason = (str(error.orig).strip().splitlines() or ["no reason given"])[0]
            raise LookalikeError(
                f"The tables in {manifest.folder} are inconsistent: {reason}. Use another copy of the backup."
            ) from error

    def _require_complete(self, lacks: MissingContents) -> None:
        if not lacks or self.allow_missing:
            return
        pictures, source = self.manifest.pictures, self.manifest.source
        sentences = list(lacks.files)
        if lacks.pictures:
            where = source / "pictures" / "originals"
            what = f"{lacks.pictures} of {pictures} images have no intact original in {where}"
            sentences.append(f"{what}: {lacks.named}.")
        raise LookalikeError(
            " ".join(sentences) + " Nothing was restored. Copy the missing files from another copy of the backup, or "
            "restore without them with --allow-missing."
        )


def restore(
    database: Database,
    pictures: ImageStorage,
    data_dir: Path,
    source: Path,
    report: Report,
    *,
    allow_missing: bool = False,
) -> RestoreResult:
    """Restore a backup into an empty catalogue.

    Args:
        database: an empty catalogue.
        pictures: the storage of originals.
        data_dir: the data folder, for vectors.
        source: the backup's folder.
        report: called with the numbers of originals copied and in all.
        allow_missing: whether to restore a backup that lacks originals or vectors.

    Raises:
        LookalikeError: the backup is incomplete, damaged or of an unknown version; the catalogue is not empty or in
            use; or a file cannot be read or written. The catalogue is unchanged.
    """
    try:
        manifest = read_manifest(source)
        check_tables(manifest)
        private_modes.make_data_folder(data_dir)
        with _exclusive(database):
            return _Restore(database, pictures, data_dir, manifest, allow_missing).run(report)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise LookalikeError(
            f"{where}{error.strerror}. Nothing was restored. The backup must be owned by the user who restores it "
            "(chown -R), and the data folder's disk needs room for all of it."
        ) from error


@contextmanager
def _exclusive(database: Database) -> Iterator[None]:
    """Hold the restore lock; fail if another restore runs or originals are still being deleted."""
    with lock_if_free(database, Lock.RESTORE) as acquired:
        if not acquired:
            raise LookalikeError("Another restore into this catalogue is running. Wait for it, or stop it.")
        with database.read_session() as session:
            wait = deletion_queue.checkpoint(session, None).wait_s
        if wait:
            raise LookalikeError(
                f"Originals of this catalogue are still being deleted. Run the restore again in {wait} s."
            )
        yield


def _require_empty(connection: Connection) -> None:
    if lock_holders(connection, VersionUse.OPEN):
        raise LookalikeError("A service is running on this catalogue. Stop it, then restore.")
    if connection.scalar(select(Image.id).limit(1)) is not None:
        raise LookalikeError("The catalogue is not empty. Restore into a new data folder (LOOKALIKE_DATA_DIR).")
    if connection.scalar(select(TrashedImage.image_id).limit(1)) is not None:
        raise LookalikeError("The catalogue's trash is not empty. Empty it with `lookalike trash empty`, then restore.")


def _intact(source: LocalStorage, sha256: str) -> bytes | None:
    try:
        data = source.read(sha256)
    except FileNotFoundError:
        return None
    return data if content_hash(data) == sha256 else None


def _advance_serial(connection: Connection, table: type[Base], assigned: Sequence[InstrumentedAttribute[int]]) -> None:
    """Set a table's id sequence past all ids ever assigned."""
    last = func.greatest(*(select(func.max(number)).scalar_subquery() for number in assigned))
    numbers = func.pg_get_serial_sequence(table.__tablename__, "id")
    connection.execute(select(func.setval(numbers, func.coalesce(last, 1), last.is_not(None))))


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
