"""Registry of the processes that use each index version, by PostgreSQL advisory locks.

PostgreSQL releases a lock when its connection ends, so a process that dies leaves no stale entries.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from app.catalogue.database.sessions import Database


class VersionUse(IntEnum):
    """Uses of an index version; the values are arbitrary and distinct from those of `Lock`."""

    OPEN = 7_164_205  # can answer requests with it
    FILLING = 7_164_206  # is encoding the catalogue for it
    WANTED = 7_164_207  # requests that all processes open it before a switch


_HOLD = text("SELECT pg_advisory_lock_shared(:role, :index_version)")
_RELEASE = text("SELECT pg_advisory_unlock_shared(:role, :index_version)")
_HELD = text(
    "SELECT objid::bigint, pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = :role AND objsubid = 2 "
    "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class VersionLocks:
    """The locks of one process, held on a dedicated connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._held: dict[VersionUse, set[int]] = defaultdict(set)

    def hold_only(self, role: VersionUse, index_versions: set[int]) -> None:
        """Hold a role for exactly these index versions, and release it for all others."""
        held = self._held[role]
        for statement, ids in ((_HOLD, index_versions - held), (_RELEASE, held - index_versions)):
            for index_version_id in ids:
                self.connection.execute(statement, {"role": role.value, "index_version": index_version_id})
        self._held[role] = set(index_versions)


@contextmanager
def version_locks(database: Database) -> Iterator[VersionLocks]:
    """Open a connection for this process's locks; they are released at the end of the block."""
    with database.read_connection() as connection:
        # A pooled connection would keep its locks.
        connection.detach()
        yield VersionLocks(connection)


def lock_holders(connection: Connection | Session, role: VersionUse) -> dict[int, set[int]]:
    """Return the backend PIDs that hold a role, by index version."""
    found: dict[int, set[int]] = defaultdict(set)
    for index_version_id, pid in connection.execute(_HELD, {"role": role.value}):
        found[index_version_id].add(pid)
    return dict(found)
