"""A bound on waiting for PostgreSQL: a server that is stopped or cut off closes no connection and answers nothing.

libpq has no client-side timeout for statements, and on a Unix socket there is no TCP timeout either. A statement may
rightly take minutes, though, so a slow one is left alone. Once one has waited for `SILENCE_S` without a byte, a new
connection is tried. If that fails too, and no other connection has heard anything meanwhile, the server is `silent`:
every statement that waits fails, and new ones are refused at once, until a new connection succeeds.

    liveness = Liveness()
    liveness.watch(engine)      # the engine's connections from now on
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

# How long a statement waits without a byte before the server is tried, and how long a try may take.
SILENCE_S, TRY_S = 5.0, 8
# How often a silent server is tried again.
AGAIN_S = 0.5
# How often psycopg looks up from waiting; its own default.
_INTERVAL_S = 0.1
_SILENT = "PostgreSQL does not answer. Statements are refused until it does."


class Liveness:
    """Whether one PostgreSQL server answers this process."""

    def __init__(self) -> None:
        self.silent = False
        self.heard = monotonic()
        self._closed, self._lock = threading.Event(), threading.Lock()
        self._trying: threading.Thread | None = None
        self._parameters: Parameters = {}

    def watch(self, engine: Engine) -> None:
        """Bound the waits of all connections that an engine opens from now on."""
        event.listen(engine, "do_connect", self._connect)

    def require(self) -> None:
        """Refuse to wait for a server that is known not to answer.

        Raises:
            UnavailableError: the server is silent.
        """
        if self.silent:
            raise UnavailableError(_SILENT)

    def doubt(self) -> None:
        """Try the server in a thread, unless one is at it or a byte has arrived a moment ago."""
        with self._lock:
            if self._trying is not None or monotonic() - self.heard < SILENCE_S or self._closed.is_set():
                return
            self._trying = threading.Thread(target=self._try_until_it_answers, name="liveness", daemon=True)
            self._trying.start()

    def close(self) -> None:
        """Stop trying."""
        self._closed.set()

    def _connect(self, _dialect: object, _record: object, words: tuple[str, ...], parameters: Parameters) -> object:
        self._parameters = parameters
        try:
            connection = _Watched.connect(*words, **parameters)
        except ConnectionTimeout:
            self.doubt()
            raise
        connection.liveness = self
        return connection

    def _try_until_it_answers(self) -> None:
        while not self._answers() and not self._closed.is_set():
            if not self.silent:
                log.error("PostgreSQL does not answer; statements are refused until it does")
            self.silent = True
            self._closed.wait(AGAIN_S)
        if self.silent:
            log.warning("PostgreSQL answers again")
        with self._lock:
            self.silent, self.heard, self._trying = False, monotonic(), None

    def _answers(self) -> bool:
        began = monotonic()
        state = ping({**self._parameters, "connect_timeout": TRY_S})
        return state != pq.Ping.NO_RESPONSE or self.heard > began


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up when nothing has arrived for `TRY_S` seconds."""

    def wait(self, gen: PQGen[Result], interval: float = _INTERVAL_S, timeout: float | None = None) -> Result:
        """Waits for an answer; see `psycopg.Connection.wait`.

        Raises:
            OperationalError: there will be none; the connection is closed.
        """
        return super().wait(self._bounded(gen), interval, timeout)

    def _bounded(self, gen: PQGen[Result]) -> PQGen[Result]:
        began = monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    began = monotonic()
                    self._progressed()
                elif self._is_hopeless(monotonic() - began):
                    self.close()
                    raise psycopg.OperationalError("PostgreSQL does not answer")
                wanted = gen.send(ready)
        except StopIteration as ended:
            result: Result = ended.value
            return result

    def _progressed(self) -> None:
        """Called when the server has sent or taken something."""

    def _is_hopeless(self, waited: float) -> bool:
        """Tells whether to give up after so many seconds without a byte."""
        return waited > TRY_S


class _Watched(BoundedConnection):
    """A connection that gives up once its server is silent, or its backend suspended."""

    liveness: Liveness | None = None

    def _progressed(self) -> None:
        if self.liveness is not None:
            self.liveness.heard = monotonic()

    def _is_hopeless(self, waited: float) -> bool:
        if self.liveness is None:
            return waited > TRY_S
        if self.liveness.silent:
            return True
        if waited <= SILENCE_S:
            return False
        self.liveness.doubt()
        # A backend alone can be suspended too; over a Unix socket it is a process of this machine.
        return self.pgconn.host.startswith(b"/") and is_suspended(self.pgconn.backend_pid, "postgres")


def ping(parameters: Parameters) -> pq.Ping:
    """Tell how a server responds, within `connect_timeout` and `TRY_S` seconds.

    libpq's PQping does the same, but psycopg holds the interpreter's lock meanwhile: all threads would stand still.

    Returns:
        OK: it takes connections, or asks for a password; REJECT: it is starting or stopping; NO_RESPONSE: anything
        else.
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
