"""Disk maintenance: keep the embedded PostgreSQL running on a full disk. Runs every second.

A server without space for its write-ahead log (WAL) ends. It writes the WAL in files of 16 MB, and reuses old files
after a checkpoint. So a few files are created in advance. While disk space is short, each full file is followed by a
checkpoint; the server then never needs a new file.
"""

import logging
import os
from contextlib import closing

import psycopg

from app.catalogue.database.liveness import BoundedConnection
from app.catalogue.embedded.ballast import Ballast
from app.catalogue.embedded.files import open_private
from app.catalogue.embedded.free_space import SEGMENT, free_bytes
from app.catalogue.embedded.server import SEGMENTS, PostgresServer

log = logging.getLogger(__name__)

_MAX_SWITCHES = 2 * SEGMENTS
# Length of a WAL file's name: a timeline and a number in hexadecimal.
_WAL_NAME_LENGTH = 24
# Size at which the server log is truncated, and how much of its end is kept.
MAX_LOG_BYTES, _KEPT_LOG_BYTES = 20_000_000, 1_000_000


class Maintenance:
    """Disk maintenance of one server; run by one process at a time."""

    def __init__(self, server: PostgresServer, ballast: Ballast) -> None:
        self._server, self._ballast = server, ballast
        self._preallocated, self._checkpointed = False, ""

    def make_room_to_start(self) -> None:
        """Release the ballast if there is no space to start the server."""
        if free_bytes(self._server.cluster) < SEGMENT:
            self._ballast.release()

    def run_once(self) -> None:
        """Create WAL files and the ballast while there is space, and recycle WAL files when it is short."""
        try:
            if free_bytes(self._server.cluster) < self._server.min_free:
                self._reuse_segments()
            elif not self._preallocated:
                self._preallocate_segments()
            self._ballast.reserve(self._server.account.uid, self._server.account.gid)
            self._truncate_log()
        except (OSError, psycopg.Error) as error:
            log.info("disk maintenance of the embedded PostgreSQL failed: %s", error)

    def _preallocate_segments(self) -> None:
        """Make the server create the WAL files that it will need."""
        if self._count_segments() < SEGMENTS:
            with closing(self._connect()) as connection:
                for _ in range(_MAX_SWITCHES):
                    # The server does not switch from an empty WAL file.
                    connection.execute("SELECT pg_logical_emit_message(false, 'lookalike', '')")
                    connection.execute("SELECT pg_switch_wal()")
                    if self._count_segments() >= SEGMENTS:
                        break
                connection.execute("CHECKPOINT")
        self._preallocated = True

    def _reuse_segments(self) -> None:
        """Run a checkpoint after each full WAL file, so that the server reuses its files."""
        with closing(self._connect()) as connection:
            (current,) = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone() or ("",)
            if current != self._checkpointed:
                connection.execute("CHECKPOINT")
                self._checkpointed = current

    def _count_segments(self) -> int:
        return sum(len(path.name) == _WAL_NAME_LENGTH for path in (self._server.cluster / "pg_wal").iterdir())

    def _connect(self) -> BoundedConnection:
        return BoundedConnection.connect(self._server.conninfo, autocommit=True, connect_timeout=5)

    def _truncate_log(self) -> None:
        """Truncate a long log in place, because the server keeps the file open; its end goes to `postgres.log.1`."""
        path = self._server.log
        if path.stat().st_size <= MAX_LOG_BYTES:
            return
        with (
            path.open("rb") as full,
            open_private(path.with_name("postgres.log.1"), os.O_WRONLY | os.O_TRUNC) as previous,
        ):
            full.seek(-_KEPT_LOG_BYTES, os.SEEK_END)
            os.write(previous, full.read())
        os.truncate(path, 0)
