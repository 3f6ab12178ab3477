"""Database sessions, connection limits, timeouts and errors."""

import secrets
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import make_url, select, text, update
from sqlalchemy.exc import ProgrammingError

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState
from app.errors import InvalidInputError, StatementTimeoutError, UnavailableError
from tests.catalogue.postgres import connect
from tests.catalogue.slow_statements import SLEEP, running_statements, wait_until

SEQ = select(CatalogueState.seq)
NEXT = update(CatalogueState).values(seq=CatalogueState.seq + 1)


def seq(database: Database) -> int:
    with database.read_session() as session:
        return session.scalars(SEQ).one()


def terminate_connections(url: str) -> None:
    """Terminate all other connections, as a server restart does."""
    with connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def fail_in_a_transaction(database: Database) -> None:
    with database.transaction() as session:
        session.execute(NEXT)
        raise InvalidInputError("field", "reason")


def terminate_connections_in_a_transaction(database: Database) -> None:
    with database.transaction() as session:
        session.execute(NEXT)
        terminate_connections(database.url)


def test_transaction_commits_at_the_end_of_the_block(database: Database) -> None:
    with database.transaction() as session:
        session.execute(NEXT)
        assert seq(database) == 0, "not visible before the commit"
    assert seq(database) == 1


def test_transaction_rolls_back_on_an_exception(database: Database) -> None:
    with pytest.raises(InvalidInputError):
        fail_in_a_transaction(database)
    assert seq(database) == 0


def test_queries_in_a_snapshot_are_consistent(database: Database) -> None:
    with database.snapshot() as session:
        before = session.scalars(SEQ).one()
        with database.transaction() as other:
            other.execute(NEXT)
        assert session.scalars(SEQ).one() == before
    assert seq(database) == before + 1


def test_queries_in_autocommit_see_the_latest_commit(database: Database) -> None:
    with database.read_session() as session:
        before = session.scalars(SEQ).one()
        with database.transaction() as other:
            other.execute(NEXT)
        assert session.scalars(SEQ).one() == before + 1


def test_snapshot_resets_the_isolation_level(migrated_url: str) -> None:
    with closing(Database(migrated_url, pool_size=1)) as database:
        for ask in (database.snapshot, database.read_session, database.transaction):
            with ask() as session:
                session.execute(SEQ)
            with database.connection_transaction() as connection:
                assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"


def test_lost_connection_raises_unavailable_and_the_next_one_works(database: Database, migrated_url: str) -> None:
    database.ping()
    terminate_connections(migrated_url)
    with pytest.raises(UnavailableError, match="database is unavailable"):
        database.ping()
    database.ping()


def test_connection_lost_in_a_transaction_commits_nothing(database: Database) -> None:
    with pytest.raises(UnavailableError):
        terminate_connections_in_a_transaction(database)
    assert seq(database) == 0


def test_connection_error_is_one_line_without_the_password(migrated_url: str) -> None:
    url = make_url(migrated_url).update_query_dict({"port": "1"})
    with (
        closing(Database(url.render_as_string(hide_password=False))) as database,
        pytest.raises(UnavailableError) as caught,
    ):
        database.ping()
    assert "\n" not in caught.value.reason
    assert str(url.password) not in caught.value.reason
    assert caught.value.retry_after > 0


def test_wrong_password_raises_unavailable(migrated_url: str) -> None:
    url = make_url(migrated_url).set(password="wrong").render_as_string(hide_password=False)  # noqa: S106 – intended
    with closing(Database(url)) as database, pytest.raises(UnavailableError, match="password"):
        database.ping()


def test_wait_for_a_connection_times_out(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.catalogue.database.sessions._TIMEOUT_S", 0.05)
    with closing(Database(migrated_url, pool_size=1)) as database:
        with database.read_session() as first, database.read_session() as second:
            first.execute(SEQ)
            second.execute(SEQ)
            with pytest.raises(UnavailableError):
                database.ping()
        database.ping()


def test_waiting_changes_leave_connections_for_queries(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.catalogue.database.sessions._TIMEOUT_S", 0.05)
    with closing(Database(migrated_url, pool_size=1)) as database:
        with database.transaction() as session:
            session.execute(NEXT)
            with pytest.raises(UnavailableError, match="Too many changes"), database.transaction():
                raise AssertionError
            database.ping()
        with database.transaction() as session:
            session.execute(NEXT)
        assert seq(database) == 2


def test_read_only_database_raises_unavailable_on_changes(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        with pytest.raises(UnavailableError, match="read-only"), database._translated():
            session.execute(NEXT)
        session.rollback()
    assert seq(database) == 0


def test_programming_error_is_not_translated(database: Database) -> None:
    with pytest.raises(ProgrammingError), database.read_session() as session:
        session.execute(text("SELECT nothing FROM nowhere"))


def test_slow_statement_times_out(migrated_url: str) -> None:
    with closing(Database(migrated_url, pool_size=1, statement_seconds=0.2)) as database:
        for ask in (database.read_session, database.scan_session, database.transaction, database.read_connection):
            with (
                pytest.raises(StatementTimeoutError, match=r"within 0\.2 s.*LOOKALIKE_STATEMENT_TIMEOUT_SECONDS"),
                ask() as asked,
            ):
                asked.execute(SLEEP)
        database.ping()


def test_wait_for_a_lock_times_out(migrated_url: str) -> None:
    with (
        closing(Database(migrated_url, pool_size=2, statement_seconds=0.2)) as database,
        database.transaction() as holding,
    ):
        holding.execute(NEXT)
        with pytest.raises(StatementTimeoutError), database.transaction() as waiting:
            waiting.execute(NEXT)


def test_work_on_the_whole_catalogue_has_no_statement_timeout(migrated_url: str) -> None:
    with closing(Database(migrated_url, pool_size=1, statement_seconds=0.2)) as database:
        for work in (
            database.snapshot,
            database.connection_transaction,
            partial(database.transaction, no_timeout=True),
        ):
            with work() as asked:
                asked.execute(text("SELECT pg_sleep(0.5)"))
            with database.read_session() as session:
                assert session.scalar(text("SHOW statement_timeout")) == "200ms", "restored for the next use"


def test_statement_timeout_is_off_by_default(database: Database) -> None:
    with database.read_session() as session:
        assert session.scalar(text("SHOW statement_timeout")) == "0"


def test_statement_ends_when_its_client_is_killed(migrated_url: str) -> None:
    program = (
        "import sys; from app.catalogue.database.sessions import Database\n"
        "from tests.catalogue.slow_statements import SLEEP\n"
        "with Database(sys.argv[1]).read_session() as session: session.execute(SLEEP)"
    )
    with connect(migrated_url) as watching:
        process = subprocess.Popen([sys.executable, "-c", program, migrated_url])
        wait_until(lambda: running_statements(watching, "pg_sleep") == 1, seconds=60)
        process.kill()
        process.wait()
        wait_until(lambda: running_statements(watching, "pg_sleep") == 0)


def test_concurrent_scans_are_limited(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.catalogue.database.sessions._TIMEOUT_S", 0.05)
    with closing(Database(migrated_url, pool_size=1)) as database:
        with database.scan_session():
            with pytest.raises(UnavailableError, match="Too many queries over the whole"), database.scan_session():
                raise AssertionError
            database.ping()
        with database.scan_session() as session:
            session.execute(SEQ)


def test_too_many_connections_raises_unavailable(migrated_url: str, postgres_url: str) -> None:
    """By a limit of a role; for the whole server, PostgreSQL has another message and the same code."""
    name = make_url(migrated_url).database
    with connect(postgres_url) as admin:
        # Limits do not apply to superusers, so this uses another role.
        password = secrets.token_hex()
        admin.execute(f"CREATE ROLE guest LOGIN PASSWORD '{password}' CONNECTION LIMIT 1".encode())
        admin.execute(f"GRANT ALL ON DATABASE {name} TO guest".encode())
        guest = make_url(migrated_url).set(username="guest", password=password).render_as_string(hide_password=False)
        try:
            with closing(Database(guest)) as database, database.read_session() as one:
                one.execute(text("SELECT 1"))
                with pytest.raises(UnavailableError, match="too many connections") as refused:
                    database.ping()
                assert refused.value.retry_after > 0
        finally:
            admin.execute(f"REVOKE ALL ON DATABASE {name} FROM guest".encode())
            admin.execute("DROP ROLE guest")


def test_more_threads_than_connections_wait(migrated_url: str) -> None:
    with closing(Database(migrated_url, pool_size=1)) as database:
        failed: list[Exception] = []

        def advance() -> None:
            try:
                with database.transaction() as session:
                    session.execute(NEXT)
            except UnavailableError as error:
                failed.append(error)

        threads = [threading.Thread(target=advance) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert seq(database) == 8
