"""`lookalike keys`: create, list and revoke API keys."""

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from app.cli.terminal import console, exit_on_error
from app.common.scopes import Scope
from app.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Manage API keys. The service requires one as soon as one exists.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="Scope of the key; may be repeated. Default: search.")
    ] = None,
) -> None:
    """Create an API key and print it. It is shown only once."""
    with exit_on_error():
        from app.bootstrap import open_database
        from app.catalogue.keys import create_key

        with open_database(Settings()) as database, database.transaction() as session:
            token = create_key(session, name, scope or [Scope.SEARCH])
        console().print(token, soft_wrap=True)


@app.command("list")
def show() -> None:
    """List the API keys, without their secrets, and when they were last used, to about a minute."""
    with exit_on_error():
        from app.bootstrap import open_database
        from app.catalogue.keys import list_keys

        with open_database(Settings()) as database, database.read_session() as session:
            keys = list_keys(session)
        table = Table("name", "scopes", "created", "last used")
        for key in keys:
            used = "never" if key.last_used_at is None else _time(key.last_used_at)
            table.add_row(key.name, ", ".join(sorted(key.scopes)), _time(key.created_at), used)
        console().print(table if keys else "There are no keys: anyone who can reach the service has full access.")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Revoke an API key. Running services reject it within a second."""
    with exit_on_error():
        from app.bootstrap import open_database
        from app.catalogue.keys import has_keys, revoke_key

        with open_database(Settings()) as database, database.transaction(allow_low_space=True) as session:
            revoke_key(session, name)
            others = has_keys(session)
        console().print(f"{name} is revoked.")
        if not others:
            console().print("It was the last key: services that require keys now accept requests from localhost only.")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
