"""Runs migrations over the connection that the service hands in, or over LOOKALIKE_DATABASE_URL."""

from alembic import context
from sqlalchemy import Connection, create_engine

from app.catalogue.database.tables import Base
from app.errors import LookalikeError
from app.settings import Settings


def migrate(connection: Connection) -> None:
    """Runs what was asked for in one transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Uses the connection at hand, or opens one."""
    handed_in = context.config.attributes.get("connection")
    if handed_in is not None:
        return migrate(handed_in)
    try:
        url = Settings().database_url
    except LookalikeError as error:
        raise SystemExit(str(error)) from error
    if url is None:
        raise SystemExit("Set LOOKALIKE_DATABASE_URL; the embedded database is migrated by `lookalike migrate`.")
    with create_engine(url).begin() as connection:
        return migrate(connection)


main()
