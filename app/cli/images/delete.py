"""`lookalike delete`: delete images by key, label, filter or table, in this process or through a service."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from app.cli.images.catalogues import Catalogue, Key, Url, find
from app.cli.images.open_catalogue import open_catalogue
from app.cli.images.selection import STEP, Conditions, batches, images, require_selection, table_keys
from app.cli.terminal import confirmed, console, exit_on_error, fail, notice, progress_bar
from app.settings import Settings


def delete(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of the images to delete.", show_default=False)] = None,
    label: Annotated[str | None, typer.Option(help="Delete the images with this label.")] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", help='Delete the images that pass a filter, such as `{"price": {"$lt": 5}}`.'),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Delete the images with these words in key, label or metadata.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Delete the images that a table (.csv, .jsonl) names by its column `key`, or else `file`."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Delete images from the catalogue, after asking. Services may run meanwhile.

    `--label`, `--filter` and `--text` together select the images that meet all of them. The exit status is 1 if nothing
    was deleted, or a key is not in the catalogue. `lookalike trash restore` undoes it for some time.
    """
    with exit_on_error():
        settings = Settings()
        conditions = Conditions(label, filter_, text)
        require_selection("delete", keys, conditions, table)
        # None selects by conditions; an empty list, such as the keys of an empty table, selects nothing.
        wanted = table_keys(table) if table is not None else keys or None
        with open_catalogue(settings, url, api_key) as catalogue:
            ids, missing = find(catalogue, wanted, conditions)
            if not ids:
                fail("Nothing was deleted: no image matches.")
            if not yes and not confirmed(f"Delete {images(len(ids))} of {catalogue.total():,}?"):
                fail("Nothing was deleted. Pass --yes to delete without being asked.")
            _delete(catalogue, ids)
        console().print(f"{images(len(ids))} deleted.")
        if missing and table is None:
            raise typer.Exit(1)


def _delete(catalogue: Catalogue, ids: Sequence[int]) -> None:
    with progress_bar() as bar:
        task = bar.add_task("deleting", total=len(ids))
        for step in batches(ids, STEP):
            deletion_id = catalogue.delete(step)
            bar.advance(task, len(step))
            if deletion_id is not None:
                notice(f"`lookalike trash restore --deletion {deletion_id}` restores {images(len(step))}.")
