"""PostgreSQL fixtures: one server per test run, one empty database per test.

Import `postgres_url` and `database_url` in a `conftest.py` to use them.
"""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from app.catalogue.embedded.postgres import embedded_postgres

# Tests of durability start their own servers.
NOT_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


def connect(url: str) -> psycopg.Connection:
    """Open an autocommit connection."""
    libpq = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(libpq, autocommit=True)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the embedded server of the test run; tests must leave it unchanged."""
    with embedded_postgres(tmp_path_factory.mktemp("postgres")) as url:
        with connect(url) as connection:
            for setting in NOT_DURABLE:
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """URL of an empty database for one test."""
    with connect(postgres_url) as connection:
        connection.execute("CREATE DATABASE one_test STRATEGY file_copy")
        yield make_url(postgres_url).set(database="one_test").render_as_string(hide_password=False)
        connection.execute("DROP DATABASE one_test WITH (FORCE)")
