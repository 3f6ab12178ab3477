"""How many connections a process may open, so that all together stay within what PostgreSQL accepts.

A worker opens at most twice its pool's size, and a few that are no part of the pool. What is left over is for commands
beside the service, and for whoever looks after the server.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.catalogue.embedded.server import MAX_CONNECTIONS
from app.errors import LookalikeError

MIN_POOL, MAX_POOL = 2, 10
# Beside a worker's pool: the locks that tell which generation it has open, and whether the jobs are its turn.
_LOCKS = 2
SPARE = 8
_RESERVED_FOR_SUPERUSERS = 3

_LIMITS = text(
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
    "- coalesce(current_setting('reserved_connections', true)::int, 0), rolconnlimit, datconnlimit "
    "FROM pg_roles, pg_database WHERE rolname = session_user AND datname = current_database()"
)


def accepted(session: Session) -> int:
    """Returns how many connections the server accepts from this role to this database, all processes together."""
    server, role, database = session.execute(_LIMITS).one()
    return min(int(limit) for limit in (server, role, database) if limit >= 0)


def pool_size(accepted_by_server: int, workers: int, most: int | None = None) -> int:
    """Returns the size of each worker's pool.

    Args:
        accepted_by_server: how many connections the server accepts.
        workers: how many processes share them.
        most: how many they may open together, whatever the server accepts; None for no such bound.

    Raises:
        LookalikeError: even the smallest pools do not fit.
    """
    shared = accepted_by_server - SPARE if most is None else min(most, accepted_by_server - SPARE)
    size = (shared // workers - _LOCKS) // 2
    if size >= MIN_POOL:
        return min(size, MAX_POOL)
    if most is not None and most == shared:
        raise LookalikeError(
            f"LOOKALIKE_MAX_DATABASE_CONNECTIONS={most} is too few for {workers} workers, which need "
            f"{needed(workers)}. Raise it, or lower LOOKALIKE_WORKERS."
        )
    raise LookalikeError(
        f"PostgreSQL accepts {accepted_by_server} connections here, and {workers} workers need "
        f"{needed(workers) + SPARE}, with {SPARE} to spare for commands beside them. Raise its max_connections (or the "
        "role's or the database's CONNECTION LIMIT), or lower LOOKALIKE_WORKERS. The embedded server has to end before "
        "it accepts more: end whatever else uses the data folder."
    )


def needed(workers: int, size: int = MIN_POOL) -> int:
    """Returns how many connections workers open at most with pools of a size."""
    return workers * (2 * size + _LOCKS)


def embedded_max_connections(workers: int) -> int:
    """Returns how many connections the embedded server has to accept for workers with pools of full size."""
    return max(MAX_CONNECTIONS, needed(workers, MAX_POOL) + SPARE + _RESERVED_FOR_SUPERUSERS)
