"""The embedded PostgreSQL, with real servers and kills."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import pq
from sqlalchemy import make_url

from app.catalogue.embedded.files import make_private_folder
from app.catalogue.embedded.postgres import embedded_postgres
from app.catalogue.embedded.server import PASSWORD_FILE, PostgresServer
from app.errors import UnavailableError
from tests.catalogue.postgres import NOT_DURABLE, connect, database_url, postgres_url

__all__ = ["database_url", "postgres_url"]

ROOT = Path(__file__).parents[2]
HOLDER = """
import signal, sys, time
from pathlib import Path
from app.catalogue.embedded.postgres import embedded_postgres
from tests.catalogue.postgres import connect

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
# Background processes ignore SIGINT by default.
signal.signal(signal.SIGINT, signal.default_int_handler)
with embedded_postgres(Path(sys.argv[1])) as url:
    try:
        print("ready", flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        time.sleep(0.3)
        print(connect(url).execute("SELECT 'still there'").fetchone()[0], flush=True)
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a stopped cluster, created after an interrupted attempt; to be copied."""
    data = tmp_path_factory.mktemp("stopped")
    (data / "postgres.new-cut-off" / "cluster").mkdir(parents=True)
    with embedded_postgres(data):
        pass
    return data


@pytest.fixture
def data(stopped: Path, tmp_path: Path) -> Iterator[Path]:
    """A data folder with a stopped cluster; stopped again if a test fails."""
    copy = tmp_path / "data"
    shutil.copytree(stopped, copy)
    yield copy
    PostgresServer.for_data_dir(copy).stop()


@contextmanager
def started(data: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that uses the server, in its own session as in another terminal."""
    command = [sys.executable, "-c", HOLDER, str(data)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    """Read the process's next line of output; the first one is `ready`."""
    assert process.stdout is not None
    return process.stdout.readline()


@contextmanager
def holder(data: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that uses the server, and wait until it is ready."""
    with started(data) as process:
        assert read_line(process) == "ready\n"
        yield process


def value(url: str, query: str) -> object:
    with connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def postmaster(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().split()[0])


def is_stopped(data: Path) -> bool:
    return (
        PostgresServer.for_data_dir(data).ping() == pq.Ping.NO_RESPONSE
        and not (data / "postgres" / "postmaster.pid").exists()
    )


def test_server_responds(postgres_url: str) -> None:
    assert value(postgres_url, "SELECT 1") == 1


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("listen_addresses", ""),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_server_settings(postgres_url: str, setting: str, expected: str) -> None:
    assert value(postgres_url, f"SHOW {setting}") == expected


@pytest.mark.parametrize("setting", NOT_DURABLE)
def test_durability_settings_are_on(tmp_path: Path, setting: str) -> None:
    with embedded_postgres(tmp_path) as url:
        assert value(url, f"SHOW {setting}") == "on"


def test_text_sorts_by_code_point_with_unicode_case_mapping(postgres_url: str) -> None:
    assert value(postgres_url, "SELECT ('Z' < 'a', upper('é'))::text") == "(t,É)"


@pytest.mark.parametrize("password", ["wrong", None])
def test_wrong_password_is_refused(postgres_url: str, password: str | None) -> None:
    url = make_url(postgres_url)._replace(password=password)
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(url.render_as_string(hide_password=False))


def test_test_database_is_empty(database_url: str) -> None:
    assert value(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_cluster_and_password_are_private(data: Path) -> None:
    with embedded_postgres(data) as url:
        host = make_url(url).query["host"]
        assert isinstance(host, str)
        assert stat.S_IMODE(Path(host).stat().st_mode) == 0o700
        assert stat.S_IMODE((data / "postgres" / PASSWORD_FILE).stat().st_mode) == 0o600


def test_server_runs_unprivileged_with_at_most_one_capability(data: Path) -> None:
    with embedded_postgres(data):
        words = Path(f"/proc/{postmaster(data)}/status").read_text().split()
    assert int(words[words.index("Uid:") + 1]) != 0
    assert int(words[words.index("CapEff:") + 1], 16) in {0, 1 << 1, 1 << 2}


def test_password_is_in_no_command_or_log(stopped: Path) -> None:
    password = (stopped / "postgres" / PASSWORD_FILE).read_text()
    command = (stopped / "postgres" / "postmaster.opts").read_text()
    logs = [(stopped / name).read_text() for name in ("postgres.log.1", "postgres.log")]
    assert "running bootstrap script" in logs[0]
    assert "ready to accept connections" in logs[1]
    assert password not in "".join((command, *logs))


def test_data_survives_a_restart(data: Path) -> None:
    with embedded_postgres(data) as url:
        connect(url).execute("CREATE TABLE kept AS SELECT 17 AS id").connection.close()
    assert is_stopped(data)
    with embedded_postgres(data) as url:
        assert value(url, "SELECT id FROM kept") == 17


def test_last_process_stops_the_server(data: Path) -> None:
    with embedded_postgres(data) as first:
        with embedded_postgres(data) as second, holder(data):
            assert first == second
        assert value(first, "SELECT 1") == 1
    assert is_stopped(data)


def test_server_keeps_running_while_another_process_uses_it(data: Path) -> None:
    with holder(data):
        pid = postmaster(data)
        with embedded_postgres(data) as url:
            assert value(url, "SELECT 1") == 1
        assert postmaster(data) == pid
        assert not is_stopped(data)


def test_concurrent_first_starts_share_one_cluster(tmp_path: Path) -> None:
    with started(tmp_path) as one, started(tmp_path) as other:
        assert [read_line(one), read_line(other)] == ["ready\n"] * 2
        pid = postmaster(tmp_path)
        one.communicate()
        assert postmaster(tmp_path) == pid
        other.communicate()
    assert is_stopped(tmp_path)


def test_server_of_a_killed_process_is_reused_and_stopped(data: Path) -> None:
    with holder(data) as killed:
        pid = postmaster(data)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with embedded_postgres(data) as url:
            assert postmaster(data) == pid
            assert value(url, "SELECT 1") == 1
    assert is_stopped(data)


def test_ctrl_c_does_not_stop_the_server_before_its_user(data: Path) -> None:
    with holder(data) as process:
        os.killpg(process.pid, signal.SIGINT)
        # `communicate` closes its input at once, which could end the process before it handles the signal.
        assert read_line(process) == "still there\n"
        process.communicate()
    assert is_stopped(data)


def test_process_that_exits_on_sigterm_stops_the_server(data: Path) -> None:
    with holder(data) as process:
        process.terminate()
        process.communicate()
    assert is_stopped(data)


def test_server_recovers_after_a_kill(data: Path) -> None:
    with embedded_postgres(data) as url:
        connect(url).execute("CREATE TABLE kept AS SELECT 17 AS id").connection.close()
        os.kill(postmaster(data), signal.SIGKILL)
    with embedded_postgres(data) as url:
        assert value(url, "SELECT id FROM kept") == 17
    assert "was not properly shut down" in (data / "postgres.log").read_text()


def test_dead_server_is_restarted_by_its_users(data: Path) -> None:
    with holder(data), embedded_postgres(data) as url:
        connect(url).execute("CREATE TABLE kept AS SELECT 17 AS id").connection.close()
        first = postmaster(data)
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while PostgresServer.for_data_dir(data).ping() != pq.Ping.OK or postmaster(data) == first:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert value(url, "SELECT id FROM kept") == 17


def test_reused_pid_does_not_prevent_a_start(data: Path) -> None:
    with subprocess.Popen(["sleep", "60"], user=PostgresServer.for_data_dir(data).account.uid) as innocent:
        (data / "postgres" / "postmaster.pid").write_text(f"{innocent.pid}\n{data / 'postgres'}\n")
        with embedded_postgres(data) as url:
            assert value(url, "SELECT 1") == 1
        assert innocent.poll() is None
        innocent.kill()


def test_damaged_pid_file_does_not_prevent_a_start(data: Path) -> None:
    (data / "postgres" / "postmaster.pid").write_bytes(b"\0\0\0\0")
    with embedded_postgres(data) as url:
        assert value(url, "SELECT 1") == 1


def test_interrupted_creation_is_cleaned_up(stopped: Path) -> None:
    assert {path.name for path in stopped.iterdir()} == {
        "postgres",
        "postgres.lock",
        "postgres.log",
        "postgres.log.1",
        "postgres.start.lock",
    }


@pytest.mark.parametrize("name", ["long" * 30, "a b:c,d'e$f\"g%h"])
def test_data_folder_with_an_unsuitable_socket_path_works(stopped: Path, tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    shutil.copytree(stopped, data)
    with embedded_postgres(data) as url:
        sockets = Path(str(make_url(url).query["host"]))
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert value(url, "SELECT 1") == 1
    assert sockets != data / "postgres"
    assert not sockets.exists()


def test_socket_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(UnavailableError, match="0700"):
        make_private_folder(tmp_path / "open", os.getuid())


def test_symlink_as_socket_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "private")
    with pytest.raises(UnavailableError, match="0700"):
        make_private_folder(tmp_path / "link", os.getuid())


def test_cluster_of_another_version_is_refused(data: Path) -> None:
    (data / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(UnavailableError, match="created by PostgreSQL 17"), embedded_postgres(data):
        pass


def test_failed_start_reports_the_log(data: Path) -> None:
    (data / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(UnavailableError, match="could not find the database system"), embedded_postgres(data):
        pass
