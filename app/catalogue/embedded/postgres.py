"""The embedded PostgreSQL: a server of the service's own, inside its data folder.

    with embedded_postgres(Path("data")) as url:
        engine = create_engine(url)

Several processes may do so with one folder at once: the first starts the server, the others find it, the last
stops it, and whoever notices that it died starts it again. Each holds a shared lock meanwhile. The kernel drops the
lock of a process that is killed, so a kill leaves at worst a running server, which the next start finds and its end
stops.

    data/postgres/              the cluster, with its password, its socket and its ballast; for its owner alone
    data/postgres.log           what the server said since its start; before that: postgres.log.1
    data/postgres.lock          held, shared, by each process that uses the server
    data/postgres.start.lock    held by the one that is starting it

It knows nothing of tables, nor of a server that somebody else runs.
"""

import fcntl
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.catalogue.embedded.ballast import Ballast
from app.catalogue.embedded.files import open_private
from app.catalogue.embedded.free_space import Room, least_free
from app.catalogue.embedded.server import MAX_CONNECTIONS, Server
from app.catalogue.embedded.upkeep import Upkeep
from app.common.private_modes import make_data_folder
from app.errors import UnavailableError

log = logging.getLogger(__name__)

# How often a holder looks whether the server is still there.
WATCH_S = 1.0
START_LOCK = "postgres.start.lock"
# How long a server that was about to start may take to show itself.
_STILL_STARTING_S = 2.0


@contextmanager
def embedded_postgres(folder: Path, least: int | None = None, max_connections: int = MAX_CONNECTIONS) -> Iterator[str]:
    """Keep a data folder's PostgreSQL running for the length of the block.

    Args:
        folder: the data folder.
        least: bytes that writes leave free on its disk; without it a share of the disk.
        max_connections: how many connections it accepts where it has to be started; one that runs stays as it is.

    Yields:
        Its SQLAlchemy URL, which holds the password.

    Raises:
        UnavailableError: it cannot be started; the sentence says why.
    """
    data = folder.resolve()
    make_data_folder(data)
    with open_private(data / "postgres.lock") as lock:
        server = Server.of(data, least, max_connections)
        upkeep, ending = Upkeep(server, Ballast(server.cluster, server.least)), threading.Event()
        _join(server, upkeep, lock)
        watching = threading.Thread(target=_watch, args=(server, upkeep, ending), name="postgres", daemon=True)
        watching.start()
        try:
            yield server.url
        finally:
            ending.set()
            watching.join()
            _leave(server, lock)


def stop_if_unused(folder: Path) -> None:
    """Stops a data folder's PostgreSQL unless a process uses it, for one that was ended before it could.

    It may have been ended while it started the server, which goes on starting by itself.
    """
    data = folder.resolve()
    if not (data / "postgres.lock").exists():
        return
    with (
        open_private(data / START_LOCK) as starting,
        open_private(data / "postgres.lock") as lock,
        suppress(BlockingIOError),
    ):
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        server, until = Server.of(data), time.monotonic() + _STILL_STARTING_S
        while not server.is_there() and time.monotonic() < until:
            time.sleep(0.1)
        server.stop()


def embedded_room(folder: Path, least: int | None = None) -> Room:
    """Return the free space on the disk of a data folder's PostgreSQL, which gives up its ballast where there is none.

    Args:
        folder: the data folder.
        least: bytes that writes leave free; without it a share of the disk.
    """
    cluster = folder / "postgres"
    least = least_free(folder, least)
    return Room((cluster, cluster / "pg_wal"), least, Ballast(cluster, least).give_up)


def _join(server: Server, upkeep: Upkeep, lock: int) -> None:
    with open_private(server.data / START_LOCK) as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_SH)
        server.ensure_created()
        upkeep.make_room_to_start()
        server.ensure_running()


def _watch(server: Server, upkeep: Upkeep, ending: threading.Event) -> None:
    """Start the server again where it dies, and look after its disk; the first to hold the lock does."""
    while not ending.wait(WATCH_S):
        try:
            with open_private(server.data / START_LOCK) as starting:
                if server.is_there():
                    _look_after(upkeep, starting)
                    continue
                fcntl.flock(starting, fcntl.LOCK_EX)
                if ending.is_set():
                    return
                log.warning("the embedded PostgreSQL is gone; starting it again")
                upkeep.make_room_to_start()
                server.ensure_running()
        except (OSError, UnavailableError) as error:
            # A disk may have room again, and be tried again.
            log.error("%s", error)


def _look_after(upkeep: Upkeep, starting: int) -> None:
    with suppress(BlockingIOError):
        fcntl.flock(starting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        upkeep.look()


def _leave(server: Server, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # somebody else still uses it
    server.stop()
