"""Detect a PostgreSQL server that has stopped responding without closing its connections (suspended or cut off).

libpq has no client-side statement timeout, and a Unix socket has no TCP timeout. A statement may legitimately take
minutes, so slow ones are not interrupted. After `SILENCE_S` without a byte, a new connection is tried. If that fails
too, and no other connection has received anything meanwhile, the server is `silent`: all waiting statements fail, and
new ones are refused at once, until a new connection succeeds.

    liveness = Liveness()
    liveness.watch(engine)      # all connections that the engine opens from now on
    liveness.require()          # raises while the server is silent
"""

import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.errors import ConnectionTimeout
from sqlalchemy import Engine, event

from app.common.processes import is_suspended
from app.errors import UnavailableError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Parameters = Mapping[str, Any]

# Seconds without a byte before the server is probed, and the timeout of a probe.
SILENCE_S, PROBE_TIMEOUT_S = 5.0, 8
# Interval between probes of a silent server.
PROBE_INTERVAL_S = 0.5
# psycopg's polling interval; its default.
_POLL_INTERVAL_S = 0.1
_SILENT = "PostgreSQL does not respond; statements are refused until it does. Check that the server is running."


class Liveness:
    """Responsiveness of one PostgreSQL server, as seen by this process."""

    def __init__(self) -> None:
        self.silent = False
        self.last_response = monotonic()
        self._closed, self._lock = threading.Event(), threading.Lock()
        self._probing: threading.Thread | None = None
        self._parameters: Parameters = {}

    def watch(self, engine: Engine) -> None:
        """Monitor all connections that an engine opens from now on."""
        event.listen(engine, "do_connect", self._connect)

    def require(self) -> None:
        """Check that the server is not known to be silent.

        Raises:
            UnavailableError: the server is silent.
        """
        if self.silent:
            raise UnavailableError(_SILENT)

    def probe(self) -> None:
        """Probe the server in a thread, unless a probe is running or a byte has arrived recently."""
        with self._lock:
            if self._probing is not None or monotonic() - self.last_response < SILENCE_S or self._closed.is_set():
                return
            self._probing = threading.Thread(target=self._probe_until_response, name="liveness", daemon=True)
            self._probing.start()

    def close(self) -> None:
        """Stop probing."""
        self._closed.set()

    def _connect(self, _dialect: object, _record: object, args: tuple[str, ...], parameters: Parameters) -> object:
        self._parameters = parameters
        try:
            connection = _MonitoredConnection.connect(*args, **parameters)
        except ConnectionTimeout:
            self.probe()
            raise
        connection.liveness = self
        return connection

    def _probe_until_response(self) -> None:
        while not self._responds() and not self._closed.is_set():
            if not self.silent:
                log.error("PostgreSQL does not respond; statements are refused until it responds")
            self.silent = True
            self._closed.wait(PROBE_INTERVAL_S)
        if self.silent:
            log.warning("PostgreSQL responds again")
        with self._lock:
            self.silent, self.last_response, self._probing = False, monotonic(), None

    def _responds(self) -> bool:
        started_at = monotonic()
        state = ping({**self._parameters, "connect_timeout": PROBE_TIMEOUT_S})
        return state != pq.Ping.NO_RESPONSE or self.last_response > started_at


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose statements fail after `PROBE_TIMEOUT_S` seconds without a byte from the server."""

    def wait(self, gen: PQGen[Result], interval: float = _POLL_INTERVAL_S, timeout: float | None = None) -> Result:
        """Wait for the server's response; see `psycopg.Connection.wait`.

        Raises:
            OperationalError: the server does not respond; the connection is closed.
        """
        return super().wait(self._bounded(gen), interval, timeout)

    def _bounded(self, gen: PQGen[Result]) -> PQGen[Result]:
        started_at = monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    started_at = monotonic()
                    self._progressed()
                elif self._should_give_up(monotonic() - started_at):
                    self.close()
                    raise psycopg.OperationalError("PostgreSQL does not respond")
                wanted = gen.send(ready)
        except StopIteration as ended:
            result: Result = ended.value
            return result

    def _progressed(self) -> None:
        """Called when the server has sent or received data."""

    def _should_give_up(self, waited: float) -> bool:
        """Return whether to give up after `waited` seconds without a byte."""
        return waited > PROBE_TIMEOUT_S


class _MonitoredConnection(BoundedConnection):
    """A connection whose statements fail once its server is silent or its backend suspended."""

    liveness: Liveness | None = None

    def _progressed(self) -> None:
        if self.liveness is not None:
            self.liveness.last_response = monotonic()

    def _should_give_up(self, waited: float) -> bool:
        if self.liveness is None:
            return waited > PROBE_TIMEOUT_S
        if self.liveness.silent:
            return True
        if waited <= SILENCE_S:
            return False
        self.liveness.probe()
        # One backend can be suspended alone; over a Unix socket it is a process on this machine.
        return self.pgconn.host.startswith(b"/") and is_suspended(self.pgconn.backend_pid, "postgres")


def ping(parameters: Parameters) -> pq.Ping:
    """Check a server's status, within `connect_timeout` and `PROBE_TIMEOUT_S` seconds.

    libpq's PQping does the same, but psycopg holds the GIL during the call, which would block all threads.

    Returns:
        OK: it accepts connections, or requests a password; REJECT: it is starting or stopping; NO_RESPONSE: all else.
    """
    try:
        with closing(BoundedConnection.connect(**parameters)) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        return _response(str(error))
    return pq.Ping.OK


def _response(error: str) -> pq.Ping:
    if "the database system is" in error:
        return pq.Ping.REJECT
    answered = "FATAL:" in error or "no password supplied" in error
    return pq.Ping.OK if answered else pq.Ping.NO_RESPONSE
