"""A catalogue in a folder: taken while the service runs, as of one moment, and put back into an empty one.

    DIR/manifest.json     written last: without it the backup is not whole
    DIR/tables/NAME       rows, in PostgreSQL's binary COPY format; the manifest names their columns
    DIR/vectors/          F7 of every generation
    DIR/pictures/         originals, from wherever they are kept; thumbnails are made again when somebody looks

Slots are written once and originals never change, so files may be copied after the moment that the rows are of. What
must not happen meanwhile is that an original goes: deletions leave it while a backup holds its lock. Taken again into
the same folder, a backup copies only originals that are new.

A backup of an earlier version is put into that version's tables, which are then brought to this one's.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, LiteralString

from psycopg import Connection as Driver
from psycopg import sql
from sqlalchemy import Connection, delete, func, inspect, select

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
WITH_NUMBERS = (Generation, Picture, ApiKey)
MANIFEST = "manifest.json"
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
    if target.exists() and any(target.iterdir()) and not (target / "tables").is_dir():
        raise LookalikeError(f"{target} has other files in it. Name a new folder, or one with an earlier backup.")
    (target / "tables").mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).unlink(missing_ok=True)
    (data_dir / "vectors").mkdir(parents=True, exist_ok=True)
    with held(database), kept_whole(data_dir / "vectors"), database.snapshot() as session:
        connection = session.connection()
        columns = {table.__tablename__: _columns(connection, table.__tablename__) for table in TABLES}
        for name, its in columns.items():
            _write_rows(connection, name, its, target / "tables" / name)
        hashes = session.scalars(select(Picture.sha256).distinct()).all()
        _copy_out(pictures, PictureFiles(target / "pictures"), hashes, report)
        shutil.copytree(data_dir / "vectors", target / "vectors", copy_function=sparse.copy, dirs_exist_ok=True)
        manifest = {
            "version": version("lookalike"),
            "revision": revision(connection),
            "columns": columns,
            "seq": last_change(session),
            "pictures": session.scalars(select(func.count(Picture.id))).one(),
        }
    os.sync()
    (target / MANIFEST).write_text(json.dumps(manifest, indent=2))
    return manifest


def restore(database: Database, pictures: PictureStore, data_dir: Path, source: Path, report: Report) -> dict[str, Any]:
    """Puts a backup into an empty catalogue; returns its manifest.

    Raises:
        LookalikeError: the backup is not whole, of a version that this one does not know, or the catalogue is not
            empty.
    """
    manifest = _manifest(source)
    with database.connection() as connection:
        if connection.scalar(select(Picture.id).limit(1)) is not None:
            raise LookalikeError("The catalogue is not empty. Restore into a new data folder (LOOKALIKE_DATA_DIR).")
        _copy_in(PictureFiles(source / "pictures"), pictures, report)
        shutil.copytree(source / "vectors", data_dir / "vectors", copy_function=sparse.copy, dirs_exist_ok=True)
        for table in reversed(TABLES):
            connection.execute(delete(table))
        with with_tables_of(connection, manifest["revision"]):
            for name, its in manifest["columns"].items():
                _read_rows(connection, name, its, source / "tables" / name)
        for table in WITH_NUMBERS:
            _go_on_counting(connection, table)
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


def _copy_out(source: PictureStore, target: PictureFiles, hashes: Sequence[str], report: Report) -> None:
    """Copies originals that the folder has not; they are synced with everything else at the end."""

    def copy(sha256: str) -> None:
        path = target.original(sha256)
        if not path.exists():
            data = _original(source, sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{sha256}")
            temporary.write_bytes(data)
            temporary.replace(path)

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        for first in range(0, len(hashes), _AT_A_TIME):
            list(threads.map(copy, hashes[first : first + _AT_A_TIME]))
            report(min(first + _AT_A_TIME, len(hashes)), len(hashes))


def _copy_in(source: PictureFiles, target: PictureStore, report: Report) -> None:
    hashes = list(source.hashes())
    for first in range(0, len(hashes), _AT_A_TIME):
        some = hashes[first : first + _AT_A_TIME]
        target.store({sha256: source.read(sha256) for sha256 in some})
        report(first + len(some), len(hashes))


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


def _go_on_counting(connection: Connection, table: type[Base]) -> None:
    """Has new rows numbered after those that were put back."""
    last = func.max(table.__table__.c.id)
    numbers = func.pg_get_serial_sequence(table.__tablename__, "id")
    connection.execute(select(func.setval(numbers, func.coalesce(last, 1), last.is_not(None))))


def _driver(connection: Connection) -> "Driver[Any]":
    driver = connection.connection.driver_connection
    if not isinstance(driver, Driver):
        raise TypeError(f"COPY wants psycopg, not {type(driver)}")
    return driver
