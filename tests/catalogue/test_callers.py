"""Cancellation of a caller's queries when its client disconnects."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context

import pytest
from sqlalchemy import text, update

from app.catalogue.database.cancellation import Caller, set_caller
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState
from app.errors import ClientDisconnectedError
from tests.catalogue.postgres import connect
from tests.catalogue.slow_statements import SLEEP, running_statements, wait_until


def sleep(database: Database) -> None:
    with database.read_session() as session:
        session.execute(SLEEP)


def sleep_in_sql(database: Database) -> None:
    with database.read_connection() as connection:
        connection.execute(SLEEP)


@pytest.mark.parametrize("ask", [sleep, sleep_in_sql])
def test_disconnect_cancels_the_running_query(database: Database, migrated_url: str, ask: object) -> None:
    assert callable(ask)
    with ThreadPoolExecutor(1) as threads, connect(migrated_url) as watching:
        with set_caller(Caller()) as caller:
            asked: Future[None] = threads.submit(copy_context().run, ask, database)
        wait_until(lambda: running_statements(watching, "pg_sleep") == 1)
        caller.cancel()
        with pytest.raises(ClientDisconnectedError):
            asked.result(30)
        assert running_statements(watching, "pg_sleep") == 0
    database.ping()


def test_queries_after_a_disconnect_are_refused(database: Database) -> None:
    with set_caller(Caller()) as caller:
        database.ping()
        caller.cancel()
        with pytest.raises(ClientDisconnectedError):
            database.ping()
    database.ping()


def test_disconnect_does_not_cancel_other_callers_queries(migrated_url: str) -> None:
    """Callers that disconnect at random moments share a pool with others."""
    failed = list[BaseException]()
    with closing(Database(migrated_url, pool_size=2)) as database, ThreadPoolExecutor(2) as leaving:
        ending = threading.Event()

        def stay() -> None:
            while not ending.is_set():
                try:
                    with database.read_session() as session:
                        session.execute(text("SELECT pg_sleep(0.002)"))
                except BaseException as error:
                    failed.append(error)

        threads = [threading.Thread(target=stay) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(60):
            with set_caller(Caller()) as caller:
                asked = leaving.submit(copy_context().run, _ask_briefly, database, number)
            leaving.submit(caller.cancel).result(30)
            asked.exception(30)
        ending.set()
        for thread in threads:
            thread.join(30)
    assert failed == []


def _ask_briefly(database: Database, number: int) -> None:
    with database.read_session() as session:
        session.execute(text(f"SELECT pg_sleep({number % 10 / 1000})"))


def test_disconnect_does_not_cancel_a_change(database: Database, migrated_url: str) -> None:
    def change() -> None:
        with database.transaction() as session:
            session.execute(update(CatalogueState).values(seq=CatalogueState.seq + 1))
            session.execute(text("SELECT pg_sleep(1)"))

    with ThreadPoolExecutor(1) as threads, connect(migrated_url) as watching:
        with set_caller(Caller()) as caller:
            changing = threads.submit(copy_context().run, change)
        wait_until(lambda: running_statements(watching, "pg_sleep") == 1)
        caller.cancel()
        changing.result(30)
        assert watching.execute("SELECT seq FROM catalogue").fetchone() == (1,)
