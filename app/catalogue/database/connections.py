"""Size connection pools so that all workers together stay within PostgreSQL's connection limit.

A worker opens at most twice its pool's size, plus a few connections outside the pool. The rest is left for commands
that run beside the service and for administrators.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.catalogue.embedded.server import MAX_CONNECTIONS
from app.errors import LookalikeError

MIN_POOL, MAX_POOL = 2, 10
# Outside a worker's pool: one connection for the locks on open index versions, one for the job lock. One worker of all
# has one more during a task, and one while it renews thumbnails, both from `RESERVED_FOR_COMMANDS`.
_LOCKS = 2
RESERVED_FOR_COMMANDS = 8
_RESERVED_FOR_SUPERUSERS = 3

_LIMITS = text(
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
    "- coalesce(current_setting('reserved_connections', true)::int, 0), rolconnlimit, datconnlimit "
    "FROM pg_roles, pg_database WHERE rolname = session_user AND datname = current_database()"
)


def connection_limit(session: Session) -> int:
    """Return the connection limit for this role and database, all processes together."""
    server, role, database = session.execute(_LIMITS).one()
    return min(int(limit) for limit in (server, role, database) if limit >= 0)


def pool_size(accepted_by_server: int, workers: int, max_connections: int | None = None) -> int:
    """Compute the size of each worker's connection pool.

    Args:
        accepted_by_server: the server's connection limit.
        workers: number of worker processes.
        max_connections: a lower limit for all workers together; None for none.

    Raises:
        LookalikeError: even pools of the minimum size exceed the limit.
    """
    available = accepted_by_server - RESERVED_FOR_COMMANDS
    shared = available if max_connections is None else min(max_connections, available)
    size = (shared // workers - _LOCKS) // 2
    if size >= MIN_POOL:
        return min(size, MAX_POOL)
    if max_connections is not None and max_connections == shared:
        raise LookalikeError(
            f"LOOKALIKE_MAX_DATABASE_CONNECTIONS={max_connections} is too few for {workers} workers, which need "
            f"{connections_needed(workers)}. Raise it, or lower LOOKALIKE_WORKERS."
        )
    raise LookalikeError(
        f"PostgreSQL accepts {accepted_by_server} connections here, and {workers} workers need "
        f"{connections_needed(workers) + RESERVED_FOR_COMMANDS} ({RESERVED_FOR_COMMANDS} of them for other "
        "commands). Raise max_connections (or the CONNECTION LIMIT of the role or database), or lower "
        "LOOKALIKE_WORKERS. The embedded server applies a new limit after "
        "a restart: stop all other processes that use the data folder."
    )


def connections_needed(workers: int, size: int = MIN_POOL) -> int:
    """Return how many connections the workers open at most, given the pool size."""
    return workers * (2 * size + _LOCKS)


def embedded_max_connections(workers: int) -> int:
    """Return the connection limit that the embedded server needs for workers with full-size pools."""
    return max(
        MAX_CONNECTIONS, connections_needed(workers, MAX_POOL) + RESERVED_FOR_COMMANDS + _RESERVED_FOR_SUPERUSERS
    )
