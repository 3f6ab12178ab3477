"""Export and import table rows as files in PostgreSQL's binary COPY format."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString

from psycopg import Connection as Driver
from psycopg import Error, OperationalError, sql
from sqlalchemy import Connection, inspect

from app.common import private_modes
from app.errors import LookalikeError, UnavailableError
from app.maintenance.backup_manifest import Manifest

# PostgreSQL's documentation of COPY, "Binary Format".
_HEADER, _TRAILER = b"PGCOPY\n\xff\r\n\0", b"\xff\xff"
_BLOCK = 1 << 20


def columns_of(connection: Connection, table: str) -> list[str]:
    """Names of a table's columns, without those that PostgreSQL computes."""
    return [column["name"] for column in inspect(connection).get_columns(table) if "computed" not in column]


def write_rows(connection: Connection, table: str, columns: Sequence[str], path: Path) -> str:
    """Write all rows to a file; return its SHA-256."""
    statement, digest = _copy(table, columns, "TO STDOUT"), hashlib.sha256()
    path.touch(private_modes.FILE)
    with path.open("wb") as file, _driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def check_tables(manifest: Manifest) -> None:
    """Check that the files of all tables exist and are complete, without a database.

    PostgreSQL accepts a file that ends between two rows.

    Raises:
        LookalikeError: a file is missing, truncated or damaged.
        OSError: a file cannot be read.
    """
    for name in manifest.columns:
        path, wanted = manifest.table(name), manifest.digests.get(name)
        if not path.is_file():
            raise LookalikeError(f"{path} is missing. Copy it from another copy of the backup.")
        with path.open("rb") as file:
            header, digest = file.read(len(_HEADER)), hashlib.sha256()
            size = file.seek(0, 2)
            file.seek(max(size - len(_TRAILER), 0))
            trailer = file.read()
            file.seek(0)
            while wanted is not None and (block := file.read(_BLOCK)):
                digest.update(block)
        if header != _HEADER:
            raise _damaged(path, "it has no COPY header")
        if trailer != _TRAILER:
            raise _damaged(path, "it is truncated")
        if wanted is not None and digest.hexdigest() != wanted:
            raise _damaged(path, "its checksum differs from the manifest")


def read_rows(connection: Connection, table: str, columns: Sequence[str], path: Path) -> None:
    """Load a file's rows into a table.

    Raises:
        LookalikeError: the file is damaged.
        UnavailableError: the database cannot be used, or its disk is full.
        OSError: the file cannot be read.
    """
    statement = _copy(table, columns, "FROM STDIN")
    try:
        with path.open("rb") as file, _driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
            while block := file.read(_BLOCK):
                copy.write(block)
    except OperationalError as error:
        raise UnavailableError(f"The database cannot load the rows of {path}: {_reason(error)}") from error
    except Error as error:
        raise _damaged(path, f"PostgreSQL rejects its rows ({_reason(error)})") from error


def _reason(error: Error) -> str:
    return error.diag.message_primary or (str(error).splitlines() or ["no reason given"])[0]


def _damaged(path: Path, how: str) -> LookalikeError:
    return LookalikeError(f"{path} is damaged: {how}. Replace it from another copy of the backup.")


def _copy(table: str, columns: Sequence[str], direction: LiteralString) -> sql.Composed:
    """Compose a COPY statement; names from the manifest are quoted."""
    named = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) {} (FORMAT BINARY)").format(sql.Identifier(table), named, sql.SQL(direction))


def _driver(connection: Connection) -> "Driver[Any]":
    driver = connection.connection.driver_connection
    if not isinstance(driver, Driver):
        raise TypeError(f"COPY needs a psycopg connection, not {type(driver)}")
    return driver
