"""Advisory locks of the catalogue, in one place so that their numbers are distinct."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from sqlalchemy import func, select

from app.catalogue.database.sessions import Database


class Lock(IntEnum):
    """Advisory lock numbers, one for each exclusive operation; the values are arbitrary."""

    MIGRATE = 7_164_203
    BACKUP = 7_164_204  # also keeps originals from being deleted
    DEMO = 7_164_208  # of several workers that start together, one draws the demo images
    JOBS = 7_164_209
    RESTORE = 7_164_210
    THUMBNAILS = 7_164_215  # of several processes, one renews old thumbnails
    ADAPT = 7_164_212  # of several processes, one fits codes to the catalogue
    SWITCH = 7_164_211  # also keeps images from being added; each addition holds it shared at its commit


@contextmanager
def exclusive_lock(database: Database, lock: Lock) -> Iterator[None]:
    """Hold an advisory lock exclusively while the block runs, without locking the catalogue's row."""
    with database.connection_transaction() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock.value)))
        yield


@contextmanager
def lock_if_free(database: Database, lock: Lock) -> Iterator[bool]:
    """Hold an advisory lock while the block runs, on a connection of its own; yield False if another process has it."""
    with database.read_connection() as connection:
        # Detached, because the pool would keep the connection and its lock.
        connection.detach()
        yield bool(connection.scalar(select(func.pg_try_advisory_lock(lock.value))))
