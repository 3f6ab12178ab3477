"""Brings a database to the tables of this version, by the migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

import migrations
from app.catalogue.database.locks import Lock
from app.catalogue.database.sessions import Database
from app.errors import LookalikeError


def upgrade(database: Database) -> None:
    """Runs every migration that the database has not seen.

    Raises:
        LookalikeError: it has seen one that this version does not know.
    """
    with database.connection() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": Lock.MIGRATE.value})
        try:
            command.upgrade(config(connection), "head")
        except CommandError as error:
            raise LookalikeError(
                f"The database has the tables of a version that this one does not know ({error}). "
                "Use the version that made it, or a newer one."
            ) from error


def require_current(database: Database) -> None:
    """Makes sure that the database has this version's tables, making them in an empty one.

    Raises:
        LookalikeError: it has those of another version, and whoever keeps it has to choose the moment.
    """
    with database.connection() as connection:
        found = revision(connection)
        wanted = ScriptDirectory.from_config(config(connection)).get_current_head()
    if found is None:
        upgrade(database)
    elif found != wanted:
        raise LookalikeError(
            f"The database is at migration {found}, and this version needs {wanted}. "
            "Make a backup, then run `lookalike migrate`."
        )


@contextmanager
def with_tables_of(connection: Connection, earlier: str) -> Iterator[None]:
    """Gives an empty catalogue an earlier version's tables for the length of the block; then brings it up to this one.

    Raises:
        LookalikeError: this version does not know that one.
    """
    try:
        command.downgrade(config(connection), earlier)
    except CommandError as error:
        raise LookalikeError(
            f"This version does not know the tables of the backup's ({error}). Use a newer one."
        ) from error
    yield
    command.upgrade(config(connection), "head")


def revision(connection: Connection) -> str | None:
    """Returns the last migration that a database has seen."""
    return MigrationContext.configure(connection).get_current_revision()


def config(connection: Connection) -> Config:
    """Returns Alembic's configuration for a connection."""
    settings = Config()
    # Alembic would take a percent sign in the path for the start of a variable.
    settings.set_main_option("script_location", str(Path(migrations.__path__[0])).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings
