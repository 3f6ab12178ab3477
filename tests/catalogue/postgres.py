"""A real PostgreSQL for tests: one server for the whole run, an empty database for each test that asks.

A `conftest.py` that imports `postgres_url` and `database_url` makes them known to the tests beside it.
"""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from app.catalogue.embedded.postgres import embedded_postgres

# Tests of durability have servers of their own, as the service starts them.
NOT_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


def connect(url: str) -> psycopg.Connection:
    """A connection that commits each statement."""
    libpq = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(libpq, autocommit=True)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded server, which lives as long as the test run; for tests that leave no traces in it."""
    with embedded_postgres(tmp_path_factory.mktemp("postgres")) as url:
        with connect(url) as connection:
            for setting in NOT_DURABLE:
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database of the test's own."""
    with connect(postgres_url) as connection:
        connection.execute("CREATE DATABASE one_test STRATEGY file_copy")
        yield make_url(postgres_url).set(database="one_test").render_as_string(hide_password=False)
        connection.execute("DROP DATABASE one_test WITH (FORCE)")
