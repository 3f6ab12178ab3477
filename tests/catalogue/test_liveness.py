"""Statements wait for a slow server, and fail on a suspended one."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg import pq
from sqlalchemy import text

from app.catalogue.database import liveness
from app.catalogue.database.sessions import Database
from app.catalogue.embedded.postgres import embedded_postgres
from app.catalogue.embedded.server import PostgresServer
from app.errors import UnavailableError

SILENCE_S, PATIENCE_S = 0.5, 60


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "SILENCE_S", SILENCE_S)
    monkeypatch.setattr(liveness, "PROBE_TIMEOUT_S", 2)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder with a running server, resumed at the end of the test."""
    with embedded_postgres(tmp_path):
        yield tmp_path
        send_signal(tmp_path, signal.SIGCONT)


@pytest.fixture
def own_database(data: Path) -> Iterator[Database]:
    with closing(Database(PostgresServer.for_data_dir(data).url)) as opened:
        yield opened


def server_pids(data: Path) -> list[int]:
    server = int((data / "postgres" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [server, *map(int, children)]


def send_signal(data: Path, number: signal.Signals) -> None:
    for process in server_pids(data):
        os.kill(process, number)


def run_statement(database: Database, statement: str = "SELECT 1") -> object:
    with database.read_session() as session:
        return session.execute(text(statement)).scalar_one()


def test_slow_statement_is_not_interrupted(own_database: Database) -> None:
    assert run_statement(own_database, "SELECT 1 FROM pg_sleep(3)") == 1
    own_database.ping()


def seconds_until(succeeds: Callable[[], bool]) -> float:
    started_at = time.monotonic()
    while not succeeds():
        assert time.monotonic() - started_at < PATIENCE_S
        time.sleep(0.05)
    return time.monotonic() - started_at


def is_refused_at_once(database: Database) -> bool:
    started_at = time.monotonic()
    with pytest.raises(UnavailableError):
        run_statement(database)
    return time.monotonic() - started_at < 0.2


def answers(database: Database) -> bool:
    try:
        return run_statement(database) == 1
    except UnavailableError:
        return False


def test_suspended_server_fails_statements_until_it_is_resumed(data: Path, own_database: Database) -> None:
    run_statement(own_database)
    send_signal(data, signal.SIGSTOP)
    started_at = time.monotonic()
    with pytest.raises(UnavailableError, match="does not respond"):
        run_statement(own_database)
    assert time.monotonic() - started_at < PATIENCE_S
    seconds_until(lambda: is_refused_at_once(own_database))
    send_signal(data, signal.SIGCONT)
    seconds_until(lambda: answers(own_database))


def test_suspension_is_detected_without_proc_access(
    data: Path, own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "is_suspended", lambda *_: False)
    run_statement(own_database)
    send_signal(data, signal.SIGSTOP)
    with pytest.raises(UnavailableError, match="does not respond"):
        run_statement(own_database)
    send_signal(data, signal.SIGCONT)
    seconds_until(lambda: answers(own_database))


def test_transaction_fails_when_the_server_is_suspended(data: Path, own_database: Database) -> None:
    def suspend_in_a_transaction() -> None:
        with own_database.transaction() as session:
            session.execute(text("CREATE TABLE half_made (id int)"))
            send_signal(data, signal.SIGSTOP)

    with pytest.raises(UnavailableError, match="does not respond"):
        suspend_in_a_transaction()
    send_signal(data, signal.SIGCONT)


def test_suspended_backend_fails_only_its_own_connection(own_database: Database) -> None:
    with own_database.read_session() as other, own_database.read_session() as session:
        backend = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(Exception, match="does not respond"):
                session.execute(text("SELECT 1"))
        finally:
            os.kill(backend, signal.SIGCONT)
        assert other.execute(text("SELECT 1")).scalar_one() == 1
    own_database.ping()


def test_ping_does_not_block_other_threads(tmp_path: Path) -> None:
    ticks, ending = [0], threading.Event()

    def tick() -> None:
        while not ending.wait(0.01):
            ticks[0] += 1

    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        other = threading.Thread(target=tick)
        other.start()
        state = liveness.ping({"host": str(tmp_path), "port": 5432, "user": "any", "connect_timeout": 2})
        ending.set()
        other.join()
    assert state == pq.Ping.NO_RESPONSE
    assert ticks[0] > 10


@pytest.mark.slow
def test_start_with_a_suspended_server_reports_how_to_resume_it(data: Path) -> None:
    send_signal(data, signal.SIGSTOP)
    started_at = time.monotonic()
    with pytest.raises(UnavailableError, match=r"suspended.*kill -CONT"), embedded_postgres(data):
        pass
    assert time.monotonic() - started_at < PATIENCE_S


def test_stop_does_not_wait_for_a_suspended_server(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path):
        before = server_pids(tmp_path)
        send_signal(tmp_path, signal.SIGSTOP)
        started_at = time.monotonic()
    assert time.monotonic() - started_at < PATIENCE_S / 2
    for process in before:
        os.kill(process, signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE_S
    while (tmp_path / "postgres" / "postmaster.pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # The next start recovers from the immediate stop.
    with embedded_postgres(tmp_path):
        pass
