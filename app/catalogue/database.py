"""The way to the database: an engine, sessions, and what a lost connection means.

Whatever goes wrong between here and PostgreSQL leaves as `UnavailableError`, so that nobody above needs to know
SQLAlchemy's exceptions.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from app.catalogue.priority import Connections
from app.errors import UnavailableError

# So long somebody waits for a connection.
_PATIENCE_S = 5


class Database:
    """One process's connections to PostgreSQL, of which changes take no more than half.

    They wait for each other, and for disk or bucket while they hold the catalogue; questions must not wait for that.
    """

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.url = url
        self.engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=_PATIENCE_S,
            connect_args={"connect_timeout": 5, "application_name": "lookalike"},
        )
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statements = sessionmaker(self._autocommit, expire_on_commit=False)
        self._changing = threading.BoundedSemaphore(pool_size)
        self._connections = Connections(2 * pool_size, _PATIENCE_S)

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Opens a transaction that commits at the end of the block, unless the block raises."""
        if not self._changing.acquire(timeout=_PATIENCE_S):
            raise UnavailableError("Too many changes wait for each other.")
        try:
            with self._translated(), self._sessions.begin() as session:
                yield session
        finally:
            self._changing.release()

    @contextmanager
    def asking(self) -> Iterator[Session]:
        """Opens a session for questions, each seeing its own moment: one round trip where a transaction costs three."""
        with self._translated(), self._statements() as session:
            yield session

    @contextmanager
    def asking_in_sql(self) -> Iterator[Connection]:
        """Opens a connection for questions without a session, which is most of what a short question costs."""
        with self._translated(), self._autocommit.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Opens a read-only transaction in which every query sees the same moment."""
        with self._translated(), self._sessions() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Opens a transaction without a session, for migrations."""
        with self._translated(), self.engine.begin() as connection:
            yield connection

    def ping(self) -> None:
        """Asks the database for a sign of life.

        Raises:
            UnavailableError: there is none.
        """
        with self.asking() as session:
            session.execute(text("SELECT 1"))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._connections.one():
                yield
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise _unavailable(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or isinstance(error.orig, ReadOnlySqlTransaction):
                raise _unavailable(error) from error
            raise


def _unavailable(error: Exception) -> UnavailableError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    first_line = (str(cause).strip().splitlines() or ["no answer"])[0]
    return UnavailableError(f"The database cannot be used right now: {first_line}")
