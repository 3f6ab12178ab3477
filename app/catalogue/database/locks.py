"""The advisory locks of the catalogue, in one place so that no two are the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from sqlalchemy import func, select

from app.catalogue.database.sessions import Database


class Lock(IntEnum):
    """What only one process may do at a time; the numbers have no meaning."""

    MIGRATE = 7_164_203
    BACKUP = 7_164_204  # and no original is deleted meanwhile
    DEMO = 7_164_208  # of several workers that start at once, one draws
    JOBS = 7_164_209
    RESTORE = 7_164_210
    SWITCH = 7_164_211  # and no picture is added meanwhile; held shared by each addition's commit


@contextmanager
def exclusively(database: Database, lock: Lock) -> Iterator[None]:
    """Holds a lock for the length of the block, after all that hold it shared; the catalogue's row stays free."""
    with database.connection() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock.value)))
        yield
