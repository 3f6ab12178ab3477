"""Brings a database to the tables of this version, by the migrations."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import migrations
from app.catalogue.database import Database
from app.errors import LookalikeError

# Any number that nobody else locks: several processes may start at once, and one migrates.
_LOCK = 7_164_203


def upgrade(database: Database) -> None:
    """Runs every migration that the database has not seen."""
    with database.connection() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        command.upgrade(config(connection), "head")


def require_current(database: Database) -> None:
    """Makes sure that the database has this version's tables, making them in an empty one.

    Raises:
        LookalikeError: it has those of another version, and whoever keeps it has to choose the moment.
    """
    with database.connection() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        wanted = ScriptDirectory.from_config(config(connection)).get_current_head()
    if found is None:
        upgrade(database)
    elif found != wanted:
        raise LookalikeError(
            f"The database is at migration {found}, and this version needs {wanted}. "
            "Make a backup, then run `lookalike migrate`."
        )


def config(connection: Connection) -> Config:
    """Returns Alembic's configuration for a connection."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(migrations.__path__[0])))
    settings.attributes["connection"] = connection
    return settings
