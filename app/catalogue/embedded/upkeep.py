"""What keeps an embedded PostgreSQL running on a disk that fills up; looked at every second.

A server that finds no space for its write-ahead log (WAL) ends. It writes the log in files of 16 MB, and uses old ones
again after a checkpoint. So it gets a few of them in advance, which nothing else can take. Where the disk is short, a
checkpoint follows each one that is used up. Then the server never needs another, however full the disk is.
"""

import logging
import os
from contextlib import closing

import psycopg

from app.catalogue.database.liveness import BoundedConnection
from app.catalogue.embedded.ballast import Ballast
from app.catalogue.embedded.files import open_private
from app.catalogue.embedded.free_space import SEGMENT, free
from app.catalogue.embedded.server import SEGMENTS, Server

log = logging.getLogger(__name__)

_TRIES = 2 * SEGMENTS
# A timeline and a number, in hexadecimal digits.
_NAME_LENGTH = 24
# What the programs print goes to a file that stays open; and how much of its end is kept when it gets too long.
LOG_BYTES, _LOG_END = 20_000_000, 1_000_000


class Upkeep:
    """Looks after one server's disk; one process at a time."""

    def __init__(self, server: Server, ballast: Ballast) -> None:
        self._server, self._ballast = server, ballast
        self._filled, self._checkpointed = False, ""

    def make_room_to_start(self) -> None:
        """Give up the ballast where a server that is to be started would find no space."""
        if free(self._server.cluster) < SEGMENT:
            self._ballast.give_up()

    def look(self) -> None:
        """Set space aside while there is some, and have log files used again while there is none."""
        try:
            if free(self._server.cluster) < self._server.least:
                self._reuse_segments()
            elif not self._filled:
                self._fill()
            self._ballast.keep(self._server.account.uid, self._server.account.gid)
            self._shorten_log()
        except (OSError, psycopg.Error) as error:
            log.info("the embedded PostgreSQL's disk cannot be looked after: %s", error)

    def _fill(self) -> None:
        """Have the server make the log files that it will need."""
        if self._segments() < SEGMENTS:
            with closing(self._connect()) as connection:
                for _ in range(_TRIES):
                    # A file in which nothing has been logged would not be left for the next one.
                    connection.execute("SELECT pg_logical_emit_message(false, 'lookalike', '')")
                    connection.execute("SELECT pg_switch_wal()")
                    if self._segments() >= SEGMENTS:
                        break
                connection.execute("CHECKPOINT")
        self._filled = True

    def _reuse_segments(self) -> None:
        """Have the server use its log files again, once for each that it has filled."""
        with closing(self._connect()) as connection:
            (current,) = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone() or ("",)
            if current != self._checkpointed:
                connection.execute("CHECKPOINT")
                self._checkpointed = current

    def _segments(self) -> int:
        return sum(len(path.name) == _NAME_LENGTH for path in (self._server.cluster / "pg_wal").iterdir())

    def _connect(self) -> BoundedConnection:
        return BoundedConnection.connect(self._server.conninfo, autocommit=True, connect_timeout=5)

    def _shorten_log(self) -> None:
        """Keep the end of a log that has grown long; the server goes on writing to the same file."""
        path = self._server.log
        if path.stat().st_size <= LOG_BYTES:
            return
        with path.open("rb") as full, open_private(path.with_name("postgres.log.1"), os.O_WRONLY | os.O_TRUNC) as kept:
            full.seek(-_LOG_END, os.SEEK_END)
            os.write(kept, full.read())
        os.truncate(path, 0)
