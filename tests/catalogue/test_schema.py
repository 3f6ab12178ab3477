"""Migrations create the declared schema, and can be downgraded."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from app.catalogue.database.migrations import alembic_config, require_current, upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Base
from app.errors import LookalikeError
from tests.catalogue.postgres import connect

ROOT = Path(__file__).parents[2]
MIGRATE = """
import sys
from contextlib import closing
from app.catalogue.database.sessions import Database
from app.catalogue.database.migrations import upgrade

with closing(Database(sys.argv[1])) as database:
    database.ping()
    print("connected", flush=True)
    sys.stdin.readline()
    upgrade(database)
"""


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as database:
        yield database


def differences(database: Database) -> list[object]:
    with database.connection_transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))


def tables(database: Database) -> set[str]:
    with database.connection_transaction() as connection:
        return set(inspect(connection).get_table_names())


def stamp(database: Database, revision: str) -> None:
    with database.connection_transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_migrations_create_the_declared_schema(empty: Database) -> None:
    assert differences(empty), "an empty database differs"
    upgrade(empty)
    assert differences(empty) == []


def test_constraint_names_match_the_models(empty: Database) -> None:
    upgrade(empty)
    with empty.connection_transaction() as connection:
        seen = inspect(connection)
        for table in Base.metadata.sorted_tables:
            assert seen.get_pk_constraint(table.name)["name"] == table.primary_key.name
            expected = {constraint.name for constraint in table.foreign_key_constraints}
            assert {key["name"] for key in seen.get_foreign_keys(table.name)} == expected
        assert [check["name"] for check in seen.get_check_constraints("catalogue")] == ["ck_catalogue_one_row"]


def test_all_migrations_can_be_downgraded(empty: Database) -> None:
    upgrade(empty)
    with empty.connection_transaction() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert tables(empty) == {"alembic_version"}
    upgrade(empty)
    assert differences(empty) == []


def test_no_relation_has_an_old_name(empty: Database) -> None:
    upgrade(empty)
    with empty.connection_transaction() as connection:
        names = list(
            connection.scalars(text("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"))
        )
    assert "images_id_seq" in names
    assert [name for name in names if any(old in name for old in ("picture", "generation"))] == []


def test_migrations_have_one_head() -> None:
    with closing(Database("postgresql+psycopg://user@/none")) as database:
        # Reading the migration scripts needs no connection.
        scripts = ScriptDirectory.from_config(alembic_config(database.engine))  # type: ignore[arg-type]  # not a connection
    assert len(scripts.get_heads()) == 1


def test_upgrade_is_idempotent(empty: Database) -> None:
    upgrade(empty)
    with empty.connection_transaction() as connection:
        connection.execute(text("UPDATE catalogue SET seq = 7"))
    upgrade(empty)
    with empty.connection_transaction() as connection:
        assert connection.scalar(text("SELECT seq FROM catalogue")) == 7


def test_concurrent_upgrades_succeed(empty: Database, database_url: str) -> None:
    command = [sys.executable, "-c", MIGRATE, database_url]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    try:
        for process in both:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
        for process in both:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=60) for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
    finally:
        for process in both:
            process.kill()
    assert differences(empty) == []


def test_catalogue_has_one_row(empty: Database, database_url: str) -> None:
    upgrade(empty)
    with connect(database_url) as connection:
        row = connection.execute("SELECT id, seq, index_version_id FROM catalogue").fetchall()
        assert row == [(1, 0, None)]


def test_empty_database_is_migrated_at_start(empty: Database) -> None:
    require_current(empty)
    assert differences(empty) == []
    require_current(empty)


def test_database_of_another_version_is_refused(empty: Database) -> None:
    upgrade(empty)
    stamp(empty, "of_another_time")
    with pytest.raises(LookalikeError, match=r"of_another_time.*backup.*lookalike migrate"):
        require_current(empty)


def test_database_of_a_newer_version_is_not_changed(empty: Database) -> None:
    upgrade(empty)
    stamp(empty, "of_the_future")
    with pytest.raises(LookalikeError, match=r"of_the_future.*newer"):
        upgrade(empty)
    with empty.connection_transaction() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "of_the_future"
