"""The way to the database: an engine, sessions, and what a lost connection means.

Whatever goes wrong between here and PostgreSQL leaves as `UnavailableError`, so that nothing above needs to know
SQLAlchemy's exceptions.
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

from app.catalogue.database.callers import cancellable, current_caller
from app.catalogue.database.connections import MAX_POOL
from app.catalogue.database.liveness import Liveness
from app.catalogue.database.priority import Connections
from app.catalogue.embedded.free_space import Room
from app.errors import CallerLeftError, StatementTimeoutError, UnavailableError

# So long a thread waits for a connection, or for its turn.
_PATIENCE_S = 5
_WRITING = ("INSERT", "UPDATE", "DELETE")
_FROM_RESERVE = "from_reserve"
# Questions that look at every picture and run at the same time: each keeps a core of the database busy.
_SCANS = 4
# How often PostgreSQL looks whether the process that waits for a statement is still there; 14 and later can.
_CONNECTION_CHECK_MS, _CHECKS_SINCE = 2000, 140_000
_UNLIMITED = text("SET LOCAL statement_timeout = 0")


class Database:
    """One process's connections to PostgreSQL.

    Changes take no more than half of them. They wait for each other, and for disk or bucket while they hold the
    catalogue; questions must not wait for that.

    Args:
        url: where it is.
        pool_size: half of the connections that are open at most.
        statement_seconds: how long a statement may take; None for as long as it takes. Work on the whole catalogue
            (`snapshot`, `connection`) is never limited.
        room: what writes leave free on the disk of the embedded database; None for another database.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = MAX_POOL,
        statement_seconds: float | None = None,
        room: Room | None = None,
    ) -> None:
        self.url, self._statement_seconds, self._room = url, statement_seconds, room
        self.engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=_PATIENCE_S,
            connect_args={"connect_timeout": 5, "application_name": "lookalike"},
        )
        self._liveness = Liveness()
        self._liveness.watch(self.engine)
        if room is not None:
            event.listen(self.engine, "before_cursor_execute", self._require_room)
        event.listen(self.engine, "connect", self._prepare)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statements = sessionmaker(self._autocommit, expire_on_commit=False)
        self._changing = threading.BoundedSemaphore(pool_size)
        self._scanning = threading.BoundedSemaphore(min(_SCANS, pool_size))
        self._connections = Connections(2 * pool_size, _PATIENCE_S)

    def close(self) -> None:
        """Closes all connections."""
        self._liveness.close()
        self.engine.dispose()

    @contextmanager
    def begin(self, *, from_reserve: bool = False, unlimited: bool = False) -> Iterator[Session]:
        """Opens a transaction that commits at the end of the block, unless the block raises.

        Args:
            from_reserve: whether it may write on a disk that is full for others, because it makes room or ends
                something.
            unlimited: whether its statements may take as long as they have to, because they wait for another
                process's work.

        Raises:
            UnavailableError: it writes, and the disk of the embedded database is full.
        """
        with (
            _turn(self._changing, "Too many changes wait for each other."),
            self._translated(),
            self._sessions.begin() as session,
        ):
            if from_reserve:
                session.connection(execution_options={_FROM_RESERVE: True})
            if unlimited:
                session.execute(_UNLIMITED)
            yield session

    @contextmanager
    def asking(self) -> Iterator[Session]:
        """Opens a session for questions, each seeing its own moment: one round trip where a transaction costs three."""
        with self._translated(), self._statements() as session, cancellable(session.connection()):
            yield session

    @contextmanager
    def scanning(self) -> Iterator[Session]:
        """Opens a session for questions that look at every picture; as `asking`, and few at a time."""
        with (
            _turn(self._scanning, "Too many requests look through the whole catalogue at the same time."),
            self.asking() as session,
        ):
            yield session

    @contextmanager
    def asking_in_sql(self) -> Iterator[Connection]:
        """Opens a connection for questions without a session, which is most of what a short question costs."""
        with self._translated(), self._autocommit.connect() as connection, cancellable(connection):
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Opens a read-only transaction in which every query sees the same moment, however long each takes."""
        with self._translated(), self._sessions() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            session.execute(_UNLIMITED)
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Opens a transaction without a session for migrations, backups and the like, however long they take."""
        with self._translated(), self.engine.begin() as connection:
            connection.execute(_UNLIMITED)
            yield connection

    def ping(self) -> None:
        """Asks the database for a sign of life.

        Raises:
            UnavailableError: there is none.
        """
        with self.asking() as session:
            session.execute(text("SELECT 1"))

    def _require_room(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        """Called before each statement; refuses one that writes where there is no room for it."""
        if self._room is None or not statement.lstrip().startswith(_WRITING):
            return
        if connection.get_execution_options().get(_FROM_RESERVE):
            self._room.require_reserve()
        else:
            self._room.require()

    def _prepare(self, driver: "psycopg.Connection[Any]", _record: object) -> None:
        """Sets what holds for a connection; not in its start-up packet, where poolers refuse what they do not know."""
        limit_ms = round(1000 * (self._statement_seconds or 0))
        driver.autocommit = True
        driver.execute("SELECT set_config('statement_timeout', %s, false)", [str(limit_ms)])
        if driver.info.server_version >= _CHECKS_SINCE:
            driver.execute(f"SET client_connection_check_interval = {_CONNECTION_CHECK_MS}")
        driver.autocommit = False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._liveness.require()
        try:
            with self._connections.one():
                yield
        except PoolTimeoutError as error:
            raise UnavailableError("All connections of this process to the database are in use.") from error
        except (OperationalError, InterfaceError) as error:
            if self._room is not None and isinstance(error.orig, DiskFull):
                # What was refused may be tried again, and a query may need a file to sort in.
                self._room.make_some()
            raise self._meaning(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or isinstance(error.orig, ReadOnlySqlTransaction):
                raise _unavailable(error) from error
            raise

    def _meaning(self, error: DBAPIError) -> UnavailableError:
        caller = current_caller()
        if caller is not None and caller.left:
            return CallerLeftError()
        if isinstance(error.orig, QueryCanceled) and self._statement_seconds is not None:
            return StatementTimeoutError(self._statement_seconds)
        return _unavailable(error)


@contextmanager
def _turn(places: threading.BoundedSemaphore, busy: str) -> Iterator[None]:
    if not places.acquire(timeout=_PATIENCE_S):
        raise UnavailableError(busy)
    try:
        yield
    finally:
        places.release()


def _unavailable(error: DBAPIError) -> UnavailableError:
    first_line = (str(error.orig).strip().splitlines() or ["no answer"])[0]
    return UnavailableError(f"The database cannot be used right now: {first_line}")
