"""The embedded PostgreSQL: a server of the service's own, inside its data folder.

    with embedded_postgres(Path("data")) as url:
        engine = create_engine(url)

Several processes may do so with one folder at once: the first starts the server, the others find it, the last
stops it, and whoever notices that it died starts it again. Each holds a shared lock meanwhile. The kernel drops the
lock of a process that is killed, so a kill leaves at worst a running server, which the next start finds and its end
stops.

    data/postgres/              the cluster, with its password and its socket; nobody else may enter
    data/postgres.log           what the server said since its start; before that: postgres.log.1
    data/postgres.lock          held, shared, by each process that uses the server
    data/postgres.start.lock    held by the one that is starting it

It knows nothing of tables, nor of a server that somebody else runs.
"""

import fcntl
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.catalogue.embedded_files import open_private
from app.catalogue.embedded_server import MAX_CONNECTIONS, Server
from app.errors import UnavailableError

log = logging.getLogger(__name__)

# How often a holder looks whether the server is still there.
WATCH_S = 1.0


@contextmanager
def embedded_postgres(folder: Path, max_connections: int = MAX_CONNECTIONS) -> Iterator[str]:
    """Keep a data folder's PostgreSQL running for the length of the block.

    Where it has to be started, it accepts `max_connections`; one that runs already stays as it is.

    Yields:
        Its SQLAlchemy URL, which holds the password.

    Raises:
        UnavailableError: it cannot be started; the sentence says why.
    """
    data = folder.resolve()
    data.mkdir(parents=True, exist_ok=True)
    with open_private(data / "postgres.lock") as lock:
        server, ending = _join(data, lock, max_connections), threading.Event()
        watching = threading.Thread(target=_watch, args=(data, server, ending), name="postgres", daemon=True)
        watching.start()
        try:
            yield server.url
        finally:
            ending.set()
            watching.join()
            _leave(server, lock)


def _join(data: Path, lock: int, max_connections: int) -> Server:
    with open_private(data / "postgres.start.lock") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_SH)
        server = Server.of(data, max_connections)
        server.ensure_created()
        server.ensure_running()
    return server


def _watch(data: Path, server: Server, ending: threading.Event) -> None:
    """Starts the server again where it dies; whoever holds the lock first does, and the others find it running."""
    while not ending.wait(WATCH_S):
        if server.is_there():
            continue
        try:
            with open_private(data / "postgres.start.lock") as starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                if ending.is_set():
                    return
                log.warning("the embedded PostgreSQL is gone; starting it again")
                server.ensure_running()
        except (OSError, UnavailableError) as error:
            # A disk may have room again, and be tried again.
            log.error("%s", error)


def _leave(server: Server, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # somebody else still uses it
    server.stop()
