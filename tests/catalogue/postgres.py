"""A real PostgreSQL for tests: one server for the whole run, an empty database for each test that asks.

A `conftest.py` that imports `postgres_url` and `database_url` makes them known to the tests beside it.
"""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from app.catalogue.embedded import embedded_postgres


def connect(url: str) -> psycopg.Connection:
    """A connection that commits each statement."""
    libpq = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(libpq, autocommit=True)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded server, which lives as long as the test run; for tests that leave no traces in it."""
    with embedded_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database of the test's own."""
    with connect(postgres_url) as connection:
        connection.execute("CREATE DATABASE one_test")
        yield make_url(postgres_url).set(database="one_test").render_as_string(hide_password=False)
        connection.execute("DROP DATABASE one_test WITH (FORCE)")
