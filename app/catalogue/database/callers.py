"""The caller that a question to the database is asked for: when the caller leaves, the statement is cancelled.

    with calling(Caller()) as caller:       # a request begins; threads that copy the context belong to it
        with database.asking() as session:  # its connection is known to the caller
            …
    caller.leave()                          # from another thread: the client hung up

Only questions are cancelled. A change goes on to its end, because it may be all but committed. Knows nothing of HTTP.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg
from sqlalchemy import Connection

from app.errors import CallerLeftError

log = logging.getLogger(__name__)

Driver = psycopg.Connection[Any]

# So long the server may take to accept that a statement is to be cancelled.
_CANCEL_S = 5.0
_CALLER: ContextVar["Caller | None"] = ContextVar("caller", default=None)


class Caller:
    """One request's questions to the database. Safe for many threads."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._connections = set[Driver]()
        self._left = False

    @property
    def left(self) -> bool:
        """Whether the caller is gone."""
        return self._left

    def require(self) -> None:
        """Raises where an answer would reach no one.

        Raises:
            CallerLeftError: the caller is gone.
        """
        if self._left:
            raise CallerLeftError

    def leave(self) -> None:
        """Cancels what the database is at work on for this caller, and refuses every further question.

        A cancellation does nothing where no statement is running just then, so this may be called again.
        """
        with self._changing:
            self._left = True
            for connection in self._connections:
                _cancel(connection)

    @contextmanager
    def using(self, connection: Connection) -> Iterator[None]:
        """Has statements on a connection cancelled when the caller leaves, for the length of the block."""
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError(f"only psycopg's statements can be cancelled, not those of {type(driver)}")
        with self._changing:
            self.require()
            self._connections.add(driver)
        try:
            yield
        finally:
            # Waits for a cancellation that is under way, so that none arrives when others use the connection.
            with self._changing:
                self._connections.discard(driver)
                if self._left:
                    connection.invalidate()


@contextmanager
def calling(caller: Caller) -> Iterator[Caller]:
    """Has all questions of the block, and of threads that copy its context, asked for a caller."""
    before = _CALLER.set(caller)
    try:
        yield caller
    finally:
        _CALLER.reset(before)


def current_caller() -> Caller | None:
    """Returns the caller that this thread works for; None outside requests."""
    return _CALLER.get()


@contextmanager
def cancellable(connection: Connection) -> Iterator[None]:
    """Has statements on a connection cancelled when the current caller leaves, if there is one."""
    caller = _CALLER.get()
    if caller is None:
        yield
    else:
        with caller.using(connection):
            yield


def _cancel(connection: Driver) -> None:
    try:
        connection.cancel_safe(timeout=_CANCEL_S)
    except psycopg.Error as error:
        log.info("a statement whose caller left could not be cancelled: %s", error)
