"""Cancel a request's running queries when its client disconnects.

    with calling(Caller()) as caller:       # start of a request; threads that copy the context belong to it
        with database.read_session() as session:  # registers the connection with the caller
            …
    caller.leave()                          # from another thread: the client disconnected

Only queries are cancelled. A change always runs to its end, because it may be about to commit.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg
from sqlalchemy import Connection

from app.errors import ClientDisconnectedError

log = logging.getLogger(__name__)

Driver = psycopg.Connection[Any]

# Timeout of a cancel request.
_CANCEL_S = 5.0
_CALLER: ContextVar["Caller | None"] = ContextVar("caller", default=None)


class Caller:
    """The database queries of one request. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections = set[Driver]()
        self._left = False

    @property
    def disconnected(self) -> bool:
        """Whether the client has disconnected."""
        return self._left

    def require_connected(self) -> None:
        """Check that the client is still connected.

        Raises:
            CallerLeftError: the client has disconnected.
        """
        if self._left:
            raise ClientDisconnectedError

    def cancel(self) -> None:
        """Cancel this caller's running queries, and refuse new ones.

        Cancelling has no effect between two statements, so this may be called repeatedly.
        """
        with self._lock:
            self._left = True
            for connection in self._connections:
                _cancel(connection)

    @contextmanager
    def registered(self, connection: Connection) -> Iterator[None]:
        """Register a connection for cancellation while the block runs."""
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError(f"{type(driver)}: only statements of psycopg connections can be cancelled")
        with self._lock:
            self.require_connected()
            self._connections.add(driver)
        try:
            yield
        finally:
            # Waits for a cancellation in progress, so that none reaches the next user of the connection.
            with self._lock:
                self._connections.discard(driver)
                if self._left:
                    connection.invalidate()


@contextmanager
def set_caller(caller: Caller) -> Iterator[Caller]:
    """Set the caller of all queries in the block and in threads that copy its context."""
    token = _CALLER.set(caller)
    try:
        yield caller
    finally:
        _CALLER.reset(token)


def current_caller() -> Caller | None:
    """Return the caller of the current context; None outside requests."""
    return _CALLER.get()


@contextmanager
def cancellable(connection: Connection) -> Iterator[None]:
    """Register a connection with the current caller, if any, while the block runs."""
    caller = _CALLER.get()
    if caller is None:
        yield
    else:
        with caller.registered(connection):
            yield


def _cancel(connection: Driver) -> None:
    try:
        connection.cancel_safe(timeout=_CANCEL_S)
    except psycopg.Error as error:
        log.info("cancelling the query of a disconnected client failed: %s", error)
