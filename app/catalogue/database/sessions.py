"""Database engine and sessions; connection failures become `UnavailableError`.

Callers therefore never handle SQLAlchemy's exceptions.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.errors import DiskFull, QueryCanceled, ReadOnlySqlTransaction
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from app.catalogue.database.cancellation import cancellable, current_caller
from app.catalogue.database.connections import MAX_POOL
from app.catalogue.database.liveness import Liveness
from app.catalogue.database.priority import ConnectionLimiter
from app.catalogue.embedded.free_space import FreeSpace
from app.errors import ClientDisconnectedError, StatementTimeoutError, UnavailableError

# Seconds that a thread waits for a connection or a semaphore.
_TIMEOUT_S = 5
_WRITING = ("INSERT", "UPDATE", "DELETE")
_FROM_RESERVE = "from_reserve"
# Concurrent full-table queries: each keeps one core of the database busy.
_MAX_SCANS = 4
# How often PostgreSQL (14 and later) checks that the client of a running statement is still connected.
_CLIENT_CHECK_MS, _CLIENT_CHECK_VERSION = 2000, 140_000
_UNLIMITED = text("SET LOCAL statement_timeout = 0")


class Database:
    """One process's connections to PostgreSQL.

    Changes use at most half of them: they wait for each other, and queries must not wait behind them.

    Args:
        url: SQLAlchemy URL.
        pool_size: half of the maximum number of connections.
        statement_seconds: statement timeout; None for none. Work on the whole catalogue (`snapshot`, `connection`) has
            no timeout.
        room: free-space check for the disk of the embedded database; None for an external one.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = MAX_POOL,
        statement_seconds: float | None = None,
        room: FreeSpace | None = None,
    ) -> None:
        self.url, self._statement_seconds, self._room = url, statement_seconds, room
        # Connections are in autocommit mode, and only transactions leave it, because changing the mode twice takes as
        # long as a short query.
        self.engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=_TIMEOUT_S,
            connect_args={"connect_timeout": 5, "application_name": "lookalike"},
        )
        self._liveness = Liveness()
        self._liveness.watch(self.engine)
        if room is not None:
            event.listen(self.engine, "before_cursor_execute", self._require_room)
        event.listen(self.engine, "connect", self._configure)
        self._statements = sessionmaker(self.engine, expire_on_commit=False)
        self._transactions = self.engine.execution_options(isolation_level="READ COMMITTED")
        self._sessions = sessionmaker(self._transactions, expire_on_commit=False)
        self._changes = threading.BoundedSemaphore(pool_size)
        self._scans = threading.BoundedSemaphore(min(_MAX_SCANS, pool_size))
        self._connections = ConnectionLimiter(2 * pool_size, _TIMEOUT_S)

    def close(self) -> None:
        """Close all connections."""
        self._liveness.close()
        self.engine.dispose()

    @contextmanager
    def transaction(self, *, allow_low_space: bool = False, no_timeout: bool = False) -> Iterator[Session]:
        """Open a read-write transaction; it commits at the end of the block, unless the block raises.

        Args:
            allow_low_space: allow writes on an almost full disk, for changes that free space or end something.
            no_timeout: lift the statement timeout, for statements that wait for another process.

        Raises:
            UnavailableError: on a write: the disk of the embedded database is full.
        """
        with (
            _limited(self._changes, "Too many changes are waiting. Try again in a moment."),
            self._translated(),
            self._sessions.begin() as session,
        ):
            if allow_low_space:
                session.connection(execution_options={_FROM_RESERVE: True})
            if no_timeout:
                session.execute(_UNLIMITED)
            yield session

    @contextmanager
    def read_session(self) -> Iterator[Session]:
        """Open an autocommit session for queries, which saves the two round trips of a transaction."""
        with self._translated(), self._statements() as session, cancellable(session.connection()):
            yield session

    @contextmanager
    def scan_session(self) -> Iterator[Session]:
        """Open a session as `asking` does for queries over all images; few run at a time."""
        with (
            _limited(self._scans, "Too many queries over the whole catalogue at the same time. Try again in a moment."),
            self.read_session() as session,
        ):
            yield session

    @contextmanager
    def read_connection(self) -> Iterator[Connection]:
        """Open an autocommit connection without an ORM session, whose overhead would dominate a short query."""
        with self._translated(), self.engine.connect() as connection, cancellable(connection):
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Open a repeatable-read transaction without a statement timeout, for consistent reads."""
        with self._translated(), self._sessions() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            session.execute(_UNLIMITED)
            yield session

    @contextmanager
    def connection_transaction(self) -> Iterator[Connection]:
        """Open a transaction without an ORM session or a statement timeout, for migrations and backups."""
        with self._translated(), self._transactions.begin() as connection:
            connection.execute(_UNLIMITED)
            yield connection

    def ping(self) -> None:
        """Check that the database responds.

        Raises:
            UnavailableError: it does not.
        """
        with self.read_session() as session:
            session.execute(text("SELECT 1"))

    def _require_room(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        """Check free space before each writing statement (event handler)."""
        if self._room is None or not statement.lstrip().startswith(_WRITING):
            return
        if connection.get_execution_options().get(_FROM_RESERVE):
            self._room.require_reserve()
        else:
            self._room.require()

    def _configure(self, driver: "psycopg.Connection[Any]", _record: object) -> None:
        """Set connection parameters; not in the start-up packet, where poolers reject unknown ones."""
        limit_ms = round(1000 * (self._statement_seconds or 0))
        driver.execute("SELECT set_config('statement_timeout', %s, false)", [str(limit_ms)])
        if driver.info.server_version >= _CLIENT_CHECK_VERSION:
            driver.execute(f"SET client_connection_check_interval = {_CLIENT_CHECK_MS}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._liveness.require()
        try:
            with self._connections.acquire():
                yield
        except PoolTimeoutError as error:
            raise UnavailableError("All database connections of this process are in use. Try again later.") from error
        except (OperationalError, InterfaceError) as error:
            if self._room is not None and isinstance(error.orig, DiskFull):
                # A retry needs space, and a query may need a temporary file for sorting.
                self._room.release_reserve()
            raise self._translate(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or isinstance(error.orig, ReadOnlySqlTransaction):
                raise _unavailable(error) from error
            raise

    def _translate(self, error: DBAPIError) -> UnavailableError:
        caller = current_caller()
        if caller is not None and caller.disconnected:
            return ClientDisconnectedError()
        if isinstance(error.orig, QueryCanceled) and self._statement_seconds is not None:
            return StatementTimeoutError(self._statement_seconds)
        return _unavailable(error)


@contextmanager
def _limited(semaphore: threading.BoundedSemaphore, busy: str) -> Iterator[None]:
    if not semaphore.acquire(timeout=_TIMEOUT_S):
        raise UnavailableError(busy)
    try:
        yield
    finally:
        semaphore.release()


def _unavailable(error: DBAPIError) -> UnavailableError:
    first_line = (str(error.orig).strip().splitlines() or ["no response"])[0]
    return UnavailableError(f"The database is unavailable: {first_line}")
