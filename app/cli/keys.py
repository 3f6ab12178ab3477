"""`lookalike keys`: who may use the service."""

from typing import Annotated

import typer
from rich.table import Table

from app.catalogue.keys import Scope
from app.cli.terminal import console, errors_as_sentences
from app.settings import Settings

app = typer.Typer(no_args_is_help=True, help="API keys: from the first one on, the service asks for one.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What you will know the key by.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it is for; give it again for more.")] = None,
) -> None:
    """Make a key. It is shown once."""
    with errors_as_sentences():
        from app.bootstrap import open_database
        from app.catalogue.keys import create_key

        with open_database(Settings()) as database, database.begin() as session:
            token = create_key(session, name, scope or [Scope.SEARCH])
        console().print(token, soft_wrap=True)


@app.command("list")
def show() -> None:
    """List the keys, without their secrets."""
    with errors_as_sentences():
        from app.bootstrap import open_database
        from app.catalogue.keys import list_keys

        with open_database(Settings()) as database, database.asking() as session:
            keys = list_keys(session)
        table = Table("name", "for", "made")
        for key in keys:
            table.add_row(key.name, ", ".join(sorted(key.scopes)), f"{key.created_at:%Y-%m-%d %H:%M}")
        console().print(table if keys else "There are no keys: whoever reaches the service may do everything.")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Take a key back; running services stop taking it within a second."""
    with errors_as_sentences():
        from app.bootstrap import open_database
        from app.catalogue.keys import any_key, revoke_key

        with open_database(Settings()) as database, database.begin(from_reserve=True) as session:
            revoke_key(session, name)
            others = any_key(session)
        console().print(f"{name} is revoked.")
        if not others:
            console().print("It was the last key: services that ask for keys answer nobody but their own machine now.")
