"""Who is at work with which generation, told by locks in the database.

A lock goes with the connection that holds it, so nobody has to clean up after a process that died.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from app.catalogue.database.sessions import Database


class Role(IntEnum):
    """What somebody does with a generation; any numbers that nobody else locks."""

    OPEN = 7_164_205  # can answer with it
    FILLING = 7_164_206  # encodes the catalogue for it
    WANTED = 7_164_207  # asks everybody to open it, because the catalogue is about to use it


_HOLD = text("SELECT pg_advisory_lock_shared(:role, :generation)")
_LET_GO = text("SELECT pg_advisory_unlock_shared(:role, :generation)")
_HELD = text(
    "SELECT objid::bigint, pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = :role AND objsubid = 2 "
    "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Presence:
    """What one process says of itself, on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._held: dict[Role, set[int]] = defaultdict(set)

    def hold_only(self, role: Role, generations: set[int]) -> None:
        """Takes a role for these generations, and gives it up for all others."""
        held = self._held[role]
        for statement, ids in ((_HOLD, generations - held), (_LET_GO, held - generations)):
            for generation_id in ids:
                self.connection.execute(statement, {"role": role.value, "generation": generation_id})
        self._held[role] = set(generations)


@contextmanager
def presence(database: Database) -> Iterator[Presence]:
    """Opens a connection for what this process says of itself; at the end of the block it says nothing more."""
    with database.asking_in_sql() as connection:
        # Back in the pool it would keep its locks.
        connection.detach()
        yield Presence(connection)


def held_by(asked: Connection | Session, role: Role) -> dict[int, set[int]]:
    """Returns who has a role, by generation: a number for each."""
    found: dict[int, set[int]] = defaultdict(set)
    for generation_id, who in asked.execute(_HELD, {"role": role.value}):
        found[generation_id].add(who)
    return dict(found)
