"""Run migrations on the connection that the service provides, or on LOOKALIKE_DATABASE_URL."""

from alembic import context
from sqlalchemy import Connection, create_engine

from app.catalogue.database.tables import Base
from app.errors import LookalikeError
from app.settings import Settings


def migrate(connection: Connection) -> None:
    """Run the requested migrations in one transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Use the provided connection, or open one."""
    handed_in = context.config.attributes.get("connection")
    if handed_in is not None:
        return migrate(handed_in)
    try:
        url = Settings().database_url
    except LookalikeError as error:
        raise SystemExit(str(error)) from error
    if url is None:
        raise SystemExit(
            "LOOKALIKE_DATABASE_URL is not set. Set it, or run `lookalike migrate` for the embedded database."
        )
    with create_engine(url).begin() as connection:
        return migrate(connection)


main()
