"""Back up a running catalogue to a folder, from one snapshot. `restore.py` restores it.

    DIR/manifest.json     written last: it names the folder of this moment; a backup without it is incomplete
    DIR/as-of-…/tables/   rows, in PostgreSQL's binary COPY format; columns and digests are in the manifest
    DIR/as-of-…/vectors/  F7 of every feature set
    DIR/pictures/         originals from local or S3 storage; thumbnails are generated again on request

Archives of jobs are not copied: a restore ends the jobs that were running.

Slots are written once and originals never change, so files may be copied after the snapshot of the rows. Only
deletions of originals must wait: they are queued while a backup holds its lock. A repeated backup into the same folder
copies only new originals, and until it is complete the earlier one stays intact. Files are readable by the owner only.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.catalogue.database.job_tables import EntryWarning, Job, Rejection
from app.catalogue.database.locks import Lock, exclusive_lock
from app.catalogue.database.migrations import revision
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import (
    ApiKey,
    Base,
    CatalogueState,
    Deletion,
    DistinctPair,
    Encoding,
    FeatureSet,
    Image,
    IndexVersion,
    TrashedEncoding,
    TrashedImage,
)
from app.catalogue.queries import last_seq
from app.catalogue.storage.local import LocalStorage
from app.catalogue.storage.protocol import ImageStorage
from app.catalogue.vectors import hole_punching
from app.catalogue.vectors.file import without_hole_punching
from app.common import private_modes
from app.errors import LookalikeError
from app.maintenance.backup_manifest import MANIFEST, MOMENT
from app.maintenance.table_files import columns_of, write_rows

# In the order of their foreign keys.
TABLES: tuple[type[Base], ...] = (
    *(FeatureSet, IndexVersion, CatalogueState, Image, Encoding, Deletion),
    *(TrashedImage, TrashedEncoding, ApiKey, DistinctPair, Job, Rejection, EntryWarning),
)
# Originals copied in parallel.
_BATCH = 16

Report = Callable[[int, int], None]


def backup(database: Database, pictures: ImageStorage, data_dir: Path, target: Path, report: Report) -> dict[str, Any]:
    """Write a backup; return its manifest.

    Raises:
        LookalikeError: the folder has other files in it, or an original is missing.
        OSError: the backup cannot be written.
    """
    if target.exists() and any(target.iterdir()) and not _snapshot_folders(target):
        raise LookalikeError(f"{target} has other files in it. Use a new folder, or one with an earlier backup.")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir(private_modes.FOLDER, exist_ok=True)
    private_modes.make_folder(data_dir / "vectors")
    for name in ("pictures", "tables", "vectors", MANIFEST):
        private_modes.restrict(target / name)
    with exclusive_lock(database, Lock.BACKUP):
        folder = Path(tempfile.mkdtemp(prefix=f"{MOMENT}{datetime.now(UTC):%Y-%m-%dT%H-%MZ}-", dir=target))
        try:
            manifest = _write_snapshot(database, pictures, data_dir, folder, report)
            new = target / f".{MANIFEST}"
            private_modes.write_file(new, json.dumps(manifest, indent=2).encode())
            os.sync()
            new.replace(target / MANIFEST)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.sync()
        for earlier in _snapshot_folders(target):
            if earlier != folder:
                shutil.rmtree(earlier)
    return manifest


def _write_snapshot(
    database: Database, pictures: ImageStorage, data_dir: Path, folder: Path, report: Report
) -> dict[str, Any]:
    """Write tables and vectors of one snapshot to its folder, and originals beside it; return the manifest."""
    with without_hole_punching(data_dir / "vectors"), database.snapshot() as session:
        connection = session.connection()
        columns = {table.__tablename__: columns_of(connection, table.__tablename__) for table in TABLES}
        private_modes.make_folder(folder / "tables")
        digests = {
            name: write_rows(connection, name, names, folder / "tables" / name) for name, names in columns.items()
        }
        sizes = list(original_bytes(session).items())
        _copy_out(pictures, LocalStorage(folder.parent / "pictures"), sizes, report)
        _copy_vectors(data_dir / "vectors", folder / "vectors")
        return {
            "version": version("lookalike"),
            "revision": revision(connection),
            "folder": folder.name,
            "columns": columns,
            "digests": digests,
            "seq": last_seq(session),
            "pictures": session.scalars(select(func.count(Image.id))).one(),
        }


def original_bytes(session: Session) -> dict[str, int]:
    """Return the size of each original in bytes, by hash, also of those in the trash."""
    of_images = select(Image.sha256, Image.size_bytes).union(select(TrashedImage.sha256, TrashedImage.size_bytes))
    return dict(session.execute(of_images).all())


def _copy_vectors(source: Path, target: Path) -> None:
    private_modes.make_folder(target)
    for path in source.glob("[!.]*"):
        hole_punching.copy_sparse(str(path), str(target / path.name))


def _snapshot_folders(target: Path) -> list[Path]:
    """List the snapshot folders of all backups in a folder, complete or not."""
    return [*target.glob(f"{MOMENT}*"), *(path for path in (target / "tables", target / "vectors") if path.is_dir())]


def _copy_out(source: ImageStorage, target: LocalStorage, sizes: Sequence[tuple[str, int]], report: Report) -> None:
    """Copy originals that the folder lacks; they are synced together with everything else."""

    def copy(wanted: tuple[str, int]) -> None:
        sha256, size = wanted
        path = target.original(sha256)
        # After a power cut a file may have its name but no content.
        if not path.exists() or path.stat().st_size != size:
            data = _original(source, sha256)
            private_modes.make_folder(path.parent)
            temporary = path.with_name(f".{sha256}")
            private_modes.write_file(temporary, data)
            temporary.replace(path)

    with ThreadPoolExecutor(_BATCH) as threads:
        for first in range(0, len(sizes), _BATCH):
            list(threads.map(copy, sizes[first : first + _BATCH]))
            report(min(first + _BATCH, len(sizes)), len(sizes))


def _original(source: ImageStorage, sha256: str) -> bytes:
    try:
        return source.read(sha256)
    except FileNotFoundError as error:
        raise LookalikeError(f"The original {sha256} is missing. `lookalike check` names its image.") from error
