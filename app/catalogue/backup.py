"""A catalogue in a folder: taken while the service runs, as of one moment, and put back into an empty one.

    DIR/manifest.json     written last: it names the folder of the moment, and without it the backup is not whole
    DIR/as-of-…/tables/   rows, in PostgreSQL's binary COPY format; the manifest names their columns
    DIR/as-of-…/vectors/  F7 of every generation
    DIR/pictures/         originals, from wherever they are kept; thumbnails are made again when somebody looks

Slots are written once and originals never change, so files may be copied after the moment that the rows are of. What
must not happen meanwhile is that an original goes: deletions leave it while a backup holds its lock. Taken again into
the same folder, a backup copies only originals that are new, and until it is whole the earlier one stays what it was.

A backup of an earlier version is put into that version's tables, which are then brought to this one's. Those
from before there were folders of moments have tables and vectors in DIR itself.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256 as digest_of
from importlib.metadata import version
from pathlib import Path
from typing import Any, LiteralString

from psycopg import Connection as Driver
from psycopg import sql
from sqlalchemy import Connection, delete, func, inspect, select
from sqlalchemy.orm import InstrumentedAttribute

from app.catalogue import sparse
from app.catalogue.database import Database
from app.catalogue.locks import Lock
from app.catalogue.picture_store import PictureStore
from app.catalogue.pictures import PictureFiles
from app.catalogue.queries import last_change
from app.catalogue.schema import revision, with_tables_of
from app.catalogue.tables import ApiKey, Base, CatalogueState, Deletion, Encoding, Generation, Picture
from app.catalogue.vectors import kept_whole
from app.errors import LookalikeError

# Each after those that it refers to.
TABLES: tuple[type[Base], ...] = (Generation, CatalogueState, Picture, Encoding, Deletion, ApiKey)
# What has a number of its own, and where all those that were ever given are found; a deleted picture's stays its own.
NUMBERS = {Generation: [Generation.id], Picture: [Picture.id, Deletion.picture_id], ApiKey: [ApiKey.id]}
MANIFEST = "manifest.json"
_MOMENT = "as-of-"
# Originals copied at a time.
_AT_A_TIME = 16

Report = Callable[[int, int], None]
# What `backup` and `restore` are: a database, pictures and data folder on one side, a backup's folder on the other.
Copy = Callable[[Database, PictureStore, Path, Path, Report], dict[str, Any]]


def backup(database: Database, pictures: PictureStore, data_dir: Path, target: Path, report: Report) -> dict[str, Any]:
    """Writes a backup; returns its manifest.

    Raises:
        LookalikeError: the folder holds something else, or an original is missing.
    """
    if target.exists() and any(target.iterdir()) and not _moments(target):
        raise LookalikeError(f"{target} has other files in it. Name a new folder, or one with an earlier backup.")
    target.mkdir(parents=True, exist_ok=True)
    (data_dir / "vectors").mkdir(parents=True, exist_ok=True)
    with held(database):
        folder = Path(tempfile.mkdtemp(prefix=f"{_MOMENT}{datetime.now(UTC):%Y-%m-%dT%H-%MZ}-", dir=target))
        try:
            manifest = _taken(database, pictures, data_dir, folder, report)
            new = target / f".{MANIFEST}"
            new.write_text(json.dumps(manifest, indent=2))
            os.sync()
            new.replace(target / MANIFEST)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.sync()
        for earlier in _moments(target):
            if earlier != folder:
                shutil.rmtree(earlier)
    return manifest


def _taken(database: Database, pictures: PictureStore, data_dir: Path, folder: Path, report: Report) -> dict[str, Any]:
    """Writes what is of one moment into its folder, and originals beside it; returns the manifest."""
    with kept_whole(data_dir / "vectors"), database.snapshot() as session:
        connection = session.connection()
        columns = {table.__tablename__: _columns(connection, table.__tablename__) for table in TABLES}
        (folder / "tables").mkdir()
        for name, its in columns.items():
            _write_rows(connection, name, its, folder / "tables" / name)
        sizes = session.execute(select(Picture.sha256, Picture.size_bytes).distinct()).all()
        _copy_out(pictures, PictureFiles(folder.parent / "pictures"), sizes, report)
        shutil.copytree(data_dir / "vectors", folder / "vectors", copy_function=sparse.copy)
        return {
            "version": version("lookalike"),
            "revision": revision(connection),
            "folder": folder.name,
            "columns": columns,
            "seq": last_change(session),
            "pictures": session.scalars(select(func.count(Picture.id))).one(),
        }


def restore(database: Database, pictures: PictureStore, data_dir: Path, source: Path, report: Report) -> dict[str, Any]:
    """Puts a backup into an empty catalogue; returns its manifest.

    Raises:
        LookalikeError: the backup is not whole, of a version that this one does not know, or damaged, or the
            catalogue is not empty.
    """
    manifest = _manifest(source)
    folder = source / manifest.get("folder", ".")
    with database.connection() as connection:
        if connection.scalar(select(Picture.id).limit(1)) is not None:
            raise LookalikeError("The catalogue is not empty. Restore into a new data folder (LOOKALIKE_DATA_DIR).")
        _copy_in(PictureFiles(source / "pictures"), pictures, report)
        shutil.copytree(folder / "vectors", data_dir / "vectors", copy_function=sparse.copy, dirs_exist_ok=True)
        for table in reversed(TABLES):
            connection.execute(delete(table))
        with with_tables_of(connection, manifest["revision"]):
            for name, its in manifest["columns"].items():
                _read_rows(connection, name, its, folder / "tables" / name)
        for table, given in NUMBERS.items():
            _go_on_counting(connection, table, given)
        # Rows are synced when they are committed; what they speak of has to be before.
        os.sync()
    return manifest


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Keeps originals from being deleted, in every process, for the length of the block."""
    with database.connection() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(Lock.BACKUP.value)))
        yield


def _manifest(source: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((source / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise LookalikeError(f"{source} is not a whole backup: it has no {MANIFEST}.") from error
    if "columns" not in manifest:
        raise LookalikeError(f"{source} is of version {manifest['version']}. Restore it with that, then update.")
    return manifest


def _moments(target: Path) -> list[Path]:
    """Returns the folders of all backups in a folder, whole or not."""
    return [*target.glob(f"{_MOMENT}*"), *(path for path in (target / "tables", target / "vectors") if path.is_dir())]


def _copy_out(source: PictureStore, target: PictureFiles, sizes: Sequence[tuple[str, int]], report: Report) -> None:
    """Copies originals that the folder has not; they are synced with everything else at the end."""

    def copy(wanted: tuple[str, int]) -> None:
        sha256, size = wanted
        path = target.original(sha256)
        # After a power cut a file may have its name, and nothing in it.
        if not path.exists() or path.stat().st_size != size:
            data = _original(source, sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{sha256}")
            temporary.write_bytes(data)
            temporary.replace(path)

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        for first in range(0, len(sizes), _AT_A_TIME):
            list(threads.map(copy, sizes[first : first + _AT_A_TIME]))
            report(min(first + _AT_A_TIME, len(sizes)), len(sizes))


def _copy_in(source: PictureFiles, target: PictureStore, report: Report) -> None:
    hashes = list(source.hashes())
    for first in range(0, len(hashes), _AT_A_TIME):
        some = hashes[first : first + _AT_A_TIME]
        target.store({sha256: _undamaged(source, sha256) for sha256 in some})
        report(first + len(some), len(hashes))


def _undamaged(source: PictureFiles, sha256: str) -> bytes:
    data = source.read(sha256)
    if digest_of(data).hexdigest() != sha256:
        raise LookalikeError(f"{source.original(sha256)} is damaged. Without that file, everything else comes back.")
    return data


def _original(source: PictureStore, sha256: str) -> bytes:
    try:
        return source.read(sha256)
    except FileNotFoundError as error:
        raise LookalikeError(f"The original {sha256} is missing. `lookalike check` says whose it is.") from error


def _columns(connection: Connection, table: str) -> list[str]:
    return [column["name"] for column in inspect(connection).get_columns(table)]


def _write_rows(connection: Connection, table: str, columns: Sequence[str], path: Path) -> None:
    statement = _copy(table, columns, "TO STDOUT")
    with path.open("wb") as file, _driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            file.write(block)


def _read_rows(connection: Connection, table: str, columns: Sequence[str], path: Path) -> None:
    statement = _copy(table, columns, "FROM STDIN")
    with path.open("rb") as file, _driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
        while block := file.read(1 << 20):
            copy.write(block)


def _copy(table: str, columns: Sequence[str], direction: LiteralString) -> sql.Composed:
    """Returns the statement; names come from the backup's manifest, and are quoted."""
    named = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) {} (FORMAT BINARY)").format(sql.Identifier(table), named, sql.SQL(direction))


def _go_on_counting(connection: Connection, table: type[Base], given: Sequence[InstrumentedAttribute[int]]) -> None:
    """Has new rows numbered after all that were ever given."""
    last = func.greatest(*(select(func.max(number)).scalar_subquery() for number in given))
    numbers = func.pg_get_serial_sequence(table.__tablename__, "id")
    connection.execute(select(func.setval(numbers, func.coalesce(last, 1), last.is_not(None))))


def _driver(connection: Connection) -> "Driver[Any]":
    driver = connection.connection.driver_connection
    if not isinstance(driver, Driver):
        raise TypeError(f"COPY wants psycopg, not {type(driver)}")
    return driver
