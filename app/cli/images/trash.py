"""`lookalike trash`: list, restore and purge deleted images, in this process or through a service."""

from typing import Annotated

import typer
from rich.table import Table

from app.cli.images.catalogues import Key, Url
from app.cli.images.open_catalogue import open_catalogue
from app.cli.images.selection import images
from app.cli.terminal import confirmed, console, exit_on_error, fail
from app.settings import Settings

app = typer.Typer(no_args_is_help=True, help="List, restore and purge deleted images.")

Deletion = Annotated[int | None, typer.Option(min=1, help="Images that were deleted together, by the deletion's id.")]


@app.command("list")
def show(deletion: Deletion = None, url: Url = None, api_key: Key = None) -> None:
    """List the deleted images that can be restored, the last deleted first."""
    with exit_on_error(), open_catalogue(Settings(), url, api_key) as catalogue:
        table = Table("id", "key", "label", "deletion", "kept until (UTC)", box=None)
        for image in catalogue.trash(deletion):
            table.add_row(str(image.id), image.key, image.label or "", str(image.deletion_id), image.expires_at)
        console().print(table if table.row_count else "The trash is empty.")


@app.command()
def restore(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids of the images to restore.", show_default=False)] = None,
    deletion: Deletion = None,
    skip_used_keys: Annotated[
        bool, typer.Option("--skip-used-keys", help="Restore the others if keys are in use again.")
    ] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Restore deleted images as they were, all or none of them."""
    with exit_on_error():
        if bool(ids) == (deletion is not None):
            fail("Name what to restore: ids, or --deletion. `lookalike trash list` shows both.")
        with open_catalogue(Settings(), url, api_key) as catalogue:
            restored, skipped = catalogue.restore(ids or None, deletion, skip_used_keys=skip_used_keys)
        more = f" {images(skipped)} skipped, because their keys are in use." if skipped else ""
        console().print(f"{images(restored)} restored.{more}")


@app.command()
def empty(
    yes: Annotated[bool, typer.Option("--yes", help="Empty it without asking.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Delete all images in the trash for good, with their files."""
    with exit_on_error(), open_catalogue(Settings(), url, api_key) as catalogue:
        if not yes and not confirmed("Delete all images in the trash for good?"):
            fail("Nothing was deleted. Pass --yes to empty the trash without being asked.")
        console().print(f"{images(catalogue.empty_trash())} deleted for good.")
