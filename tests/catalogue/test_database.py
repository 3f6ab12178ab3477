"""The way to the database, and what is said when there is none."""

import threading
from contextlib import closing

import pytest
from sqlalchemy import make_url, select, text, update
from sqlalchemy.exc import ProgrammingError

from app.catalogue.database import Database
from app.catalogue.tables import CatalogueState
from app.errors import InvalidInputError, UnavailableError
from tests.catalogue.postgres import connect

SEQ = select(CatalogueState.seq)
NEXT = update(CatalogueState).values(seq=CatalogueState.seq + 1)


def seq(database: Database) -> int:
    with database.asking() as session:
        return session.scalars(SEQ).one()


def hang_up(url: str) -> None:
    """Ends all other connections, as a server that restarts does."""
    with connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def fail_halfway(database: Database) -> None:
    with database.begin() as session:
        session.execute(NEXT)
        raise InvalidInputError("field", "reason")


def hang_up_halfway(database: Database) -> None:
    with database.begin() as session:
        session.execute(NEXT)
        hang_up(database.url)


def test_a_block_that_ends_well_is_committed(database: Database) -> None:
    with database.begin() as session:
        session.execute(NEXT)
        assert seq(database) == 0, "nobody sees it before"
    assert seq(database) == 1


def test_a_block_that_raises_is_rolled_back(database: Database) -> None:
    with pytest.raises(InvalidInputError):
        fail_halfway(database)
    assert seq(database) == 0


def test_every_question_to_a_snapshot_sees_the_same_moment(database: Database) -> None:
    with database.snapshot() as session:
        before = session.scalars(SEQ).one()
        with database.begin() as other:
            other.execute(NEXT)
        assert session.scalars(SEQ).one() == before
    assert seq(database) == before + 1


def test_each_question_of_asking_sees_its_own_moment(database: Database) -> None:
    with database.asking() as session:
        before = session.scalars(SEQ).one()
        with database.begin() as other:
            other.execute(NEXT)
        assert session.scalars(SEQ).one() == before + 1


def test_a_snapshot_leaves_no_trace_on_its_connection(migrated_url: str) -> None:
    with closing(Database(migrated_url, pool_size=1)) as database:
        for ask in (database.snapshot, database.asking, database.begin):
            with ask() as session:
                session.execute(SEQ)
            with database.connection() as connection:
                assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"


def test_a_lost_connection_is_said_and_the_next_one_works(database: Database, migrated_url: str) -> None:
    database.ping()
    hang_up(migrated_url)
    with pytest.raises(UnavailableError, match="database cannot be used"):
        database.ping()
    database.ping()


def test_a_connection_lost_within_a_transaction_commits_nothing(database: Database) -> None:
    with pytest.raises(UnavailableError):
        hang_up_halfway(database)
    assert seq(database) == 0


def test_a_server_that_is_not_there_is_said_in_one_line_without_the_password(migrated_url: str) -> None:
    url = make_url(migrated_url).update_query_dict({"port": "1"})
    with (
        closing(Database(url.render_as_string(hide_password=False))) as database,
        pytest.raises(UnavailableError) as caught,
    ):
        database.ping()
    assert "\n" not in caught.value.reason
    assert str(url.password) not in caught.value.reason
    assert caught.value.retry_after > 0


def test_a_wrong_password_is_unavailable_too(migrated_url: str) -> None:
    url = make_url(migrated_url).set(password="wrong").render_as_string(hide_password=False)  # noqa: S106 – meant
    with closing(Database(url)) as database, pytest.raises(UnavailableError, match="password"):
        database.ping()


def test_who_waits_too_long_for_a_connection_is_told(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.catalogue.database._PATIENCE_S", 0.05)
    with closing(Database(migrated_url, pool_size=1)) as database:
        with database.asking() as first, database.asking() as second:
            first.execute(SEQ)
            second.execute(SEQ)
            with pytest.raises(UnavailableError):
                database.ping()
        database.ping()


def test_changes_that_wait_leave_questions_their_connections(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.catalogue.database._PATIENCE_S", 0.05)
    with closing(Database(migrated_url, pool_size=1)) as database:
        with database.begin() as session:
            session.execute(NEXT)
            with pytest.raises(UnavailableError, match="Too many changes"), database.begin():
                raise AssertionError
            database.ping()
        with database.begin() as session:
            session.execute(NEXT)
        assert seq(database) == 2


def test_a_database_that_takes_no_changes_is_unavailable_for_them(database: Database) -> None:
    with database.begin() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        with pytest.raises(UnavailableError, match="read-only"), database._translated():
            session.execute(NEXT)
        session.rollback()
    assert seq(database) == 0


def test_a_mistake_of_ours_is_not_called_a_lost_connection(database: Database) -> None:
    with pytest.raises(ProgrammingError), database.asking() as session:
        session.execute(text("SELECT nothing FROM nowhere"))


def test_more_threads_than_connections_take_turns(migrated_url: str) -> None:
    with closing(Database(migrated_url, pool_size=1)) as database:
        failed: list[Exception] = []

        def advance() -> None:
            try:
                with database.begin() as session:
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
