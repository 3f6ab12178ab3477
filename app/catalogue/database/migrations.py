"""Run Alembic migrations on the catalogue's database."""

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
    """Upgrade the database to this version's schema.

    Raises:
        LookalikeError: the database has a migration that this version does not know.
    """
    with database.connection_transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": Lock.MIGRATE.value})
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise LookalikeError(
                f"The database has the schema of a newer version ({error}). Use that version, or a newer one."
            ) from error


def require_current(database: Database) -> None:
    """Check that the database has this version's schema; create the tables in an empty one.

    Raises:
        LookalikeError: the database needs a migration, which an administrator has to start.
    """
    with database.connection_transaction() as connection:
        found = revision(connection)
        wanted = ScriptDirectory.from_config(alembic_config(connection)).get_current_head()
    if found is None:
        upgrade(database)
    elif found != wanted:
        raise LookalikeError(
            f"The database is at migration {found}, and this version needs {wanted}. "
            "Make a backup, then run `lookalike migrate`."
        )


@contextmanager
def downgraded(connection: Connection, earlier: str) -> Iterator[None]:
    """Downgrade an empty catalogue to an earlier schema while the block runs, then upgrade it again.

    Raises:
        LookalikeError: the schema is unknown to this version.
    """
    try:
        command.downgrade(alembic_config(connection), earlier)
    except CommandError as error:
        raise LookalikeError(
            f"The backup has a schema that this version does not know ({error}). Use a newer one."
        ) from error
    yield
    command.upgrade(alembic_config(connection), "head")


def revision(connection: Connection) -> str | None:
    """Return the database's current migration; None without any."""
    return MigrationContext.configure(connection).get_current_revision()


def alembic_config(connection: Connection) -> Config:
    """Build the Alembic configuration for a connection."""
    settings = Config()
    # Alembic interpolates percent signs.
    settings.set_main_option("script_location", str(Path(migrations.__path__[0])).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings
