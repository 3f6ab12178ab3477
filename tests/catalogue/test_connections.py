"""Connection pool sizes for any number of workers and connection limit."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import QueuePool, make_url

from app.bootstrap import open_database
from app.catalogue.database.connections import (
    MAX_POOL,
    MIN_POOL,
    RESERVED_FOR_COMMANDS,
    connection_limit,
    connections_needed,
    embedded_max_connections,
    pool_size,
)
from app.catalogue.database.sessions import Database
from app.catalogue.embedded.postgres import embedded_postgres
from app.errors import LookalikeError, UnavailableError
from app.settings import Settings
from tests.catalogue.postgres import connect


@pytest.mark.parametrize("workers", [1, 2, 5, 16, 64])
@pytest.mark.parametrize("server", [20, 97, 197, 1000])
def test_pools_of_all_workers_fit_the_limit_or_raise(server: int, workers: int) -> None:
    if connections_needed(workers, MIN_POOL) <= server - RESERVED_FOR_COMMANDS:
        size = pool_size(server, workers)
        assert connections_needed(workers, size) <= server - RESERVED_FOR_COMMANDS
        assert size == MAX_POOL or connections_needed(workers, size + 1) > server - RESERVED_FOR_COMMANDS
        return
    enough = connections_needed(workers) + RESERVED_FOR_COMMANDS
    with pytest.raises(LookalikeError, match=f"accepts {server} connections here, and {workers} workers need {enough}"):
        pool_size(server, workers)
    assert pool_size(enough, workers) == MIN_POOL, "the number in the error message suffices"


def test_pool_size_respects_the_configured_limit() -> None:
    assert connections_needed(5, pool_size(1000, 5, max_connections=50)) <= 50
    assert pool_size(20, 1, max_connections=1000) == pool_size(20, 1), "the server's limit applies too"
    with pytest.raises(LookalikeError, match="LOOKALIKE_MAX_DATABASE_CONNECTIONS=20 is too few for 5 workers"):
        pool_size(1000, 5, max_connections=20)


@pytest.mark.parametrize("workers", [1, 4, 5, 64])
def test_embedded_server_limit_fits_full_pools(workers: int) -> None:
    accepts = embedded_max_connections(workers)
    assert accepts >= 100
    assert pool_size(accepts - 3, workers) == MAX_POOL


def test_accepted_connections_respect_server_and_database_limits(database: Database, migrated_url: str) -> None:
    name = make_url(migrated_url).database
    with connect(migrated_url) as admin, database.read_session() as session:
        row = admin.execute("SHOW max_connections").fetchone()
        assert row is not None
        assert connection_limit(session) == int(row[0]) - 3, "three are reserved for superusers"
        admin.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 30".encode())
        assert connection_limit(session) == 30
        admin.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1".encode())


def test_service_with_too_many_workers_does_not_start(settings: Settings) -> None:
    """The server accepts 100 connections, 3 of them reserved."""
    with open_database(settings.model_copy(update={"workers": 5})) as database:
        assert isinstance(database.engine.pool, QueuePool)
        assert database.engine.pool.size() == pool_size(97, 5) == 7
    with (
        pytest.raises(LookalikeError, match=r"accepts 97 connections here, and 64 workers need 392"),
        open_database(settings.model_copy(update={"workers": 64})),
    ):
        raise AssertionError


def test_embedded_server_applies_max_connections(tmp_path: Path) -> None:
    """When all connections are taken, the next one fails with a retry delay."""
    with embedded_postgres(tmp_path, max_connections=8) as url, ExitStack() as others:
        taken = [others.enter_context(connect(url)) for _ in range(7)]
        with closing(Database(url, MIN_POOL)) as database:
            with database.read_session() as session:
                assert connection_limit(session) == 5
                with pytest.raises(UnavailableError, match="too many clients") as refused:
                    database.ping()
                assert refused.value.retry_after > 0
            taken.pop().close()
            database.ping()
