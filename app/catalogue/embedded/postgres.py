"""Embedded PostgreSQL: run a server inside the data folder, shared by several processes.

    with embedded_postgres(Path("data")) as url:
        engine = create_engine(url)

The first process starts the server, the others connect to it, and the last one stops it; if it dies, one of them
starts it again. Each holds a shared lock. The kernel releases the lock of a killed process, so at worst a kill leaves a
running server, which the next process uses and stops.

    data/postgres/              the cluster, with its password, socket and ballast; mode 0700
    data/postgres.log           the server's output since its start; earlier output is in postgres.log.1
    data/postgres.lock          held, shared, by each process that uses the server
    data/postgres.start.lock    held by the process that is starting it
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
from app.catalogue.embedded.free_space import FreeSpace, min_free_bytes
from app.catalogue.embedded.maintenance import Maintenance
from app.catalogue.embedded.server import MAX_CONNECTIONS, PostgresServer
from app.common.private_modes import make_data_folder
from app.errors import UnavailableError

log = logging.getLogger(__name__)

# Interval at which each process checks that the server is running.
WATCH_INTERVAL_S = 1.0
START_LOCK = "postgres.start.lock"
# Seconds to wait for a server whose start was interrupted.
_START_TIMEOUT_S = 2.0


@contextmanager
def embedded_postgres(
    folder: Path, min_free: int | None = None, max_connections: int = MAX_CONNECTIONS
) -> Iterator[str]:
    """Run a data folder's PostgreSQL while the block runs.

    Args:
        folder: the data folder.
        min_free: bytes that writes leave free on its disk; a share of the disk by default.
        max_connections: connection limit if the server is started here; a running server keeps its own.

    Yields:
        Its SQLAlchemy URL, which contains the password.

    Raises:
        UnavailableError: the server cannot be started.
    """
    data = folder.resolve()
    make_data_folder(data)
    with open_private(data / "postgres.lock") as lock:
        server = PostgresServer.for_data_dir(data, min_free, max_connections)
        maintenance, stopping = Maintenance(server, Ballast(server.cluster, server.min_free)), threading.Event()
        _join(server, maintenance, lock)
        watching = threading.Thread(target=_watch, args=(server, maintenance, stopping), name="postgres", daemon=True)
        watching.start()
        try:
            yield server.url
        finally:
            stopping.set()
            watching.join()
            _leave(server, lock)


def stop_if_unused(folder: Path) -> None:
    """Stop a data folder's PostgreSQL unless a process uses it, after a process was killed.

    The process may have been killed while it started the server, which then continues to start.
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
        server, until = PostgresServer.for_data_dir(data), time.monotonic() + _START_TIMEOUT_S
        while not server.is_running() and time.monotonic() < until:
            time.sleep(0.1)
        server.stop()


def embedded_free_space(folder: Path, min_free: int | None = None) -> FreeSpace:
    """Return the free-space check for the disk of a data folder's PostgreSQL, with its ballast.

    Args:
        folder: the data folder.
        min_free: bytes that writes leave free; a share of the disk by default.
    """
    cluster = folder / "postgres"
    min_free = min_free_bytes(folder, min_free)
    return FreeSpace((cluster, cluster / "pg_wal"), min_free, Ballast(cluster, min_free).release)


def _join(server: PostgresServer, maintenance: Maintenance, lock: int) -> None:
    with open_private(server.data / START_LOCK) as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_SH)
        server.ensure_created()
        maintenance.make_room_to_start()
        server.ensure_running()


def _watch(server: PostgresServer, maintenance: Maintenance, stopping: threading.Event) -> None:
    """Restart the server if it dies, and maintain its disk; the process that gets the start lock does."""
    while not stopping.wait(WATCH_INTERVAL_S):
        try:
            with open_private(server.data / START_LOCK) as starting:
                if server.is_running():
                    _maintain(maintenance, starting)
                    continue
                fcntl.flock(starting, fcntl.LOCK_EX)
                if stopping.is_set():
                    return
                log.warning("the embedded PostgreSQL has died; restarting it")
                maintenance.make_room_to_start()
                server.ensure_running()
        except (OSError, UnavailableError) as error:
            # The next round tries again: the disk may have space by then.
            log.error("%s", error)


def _maintain(maintenance: Maintenance, starting: int) -> None:
    with suppress(BlockingIOError):
        fcntl.flock(starting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        maintenance.run_once()


def _leave(server: PostgresServer, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another process still uses it
    server.stop()
