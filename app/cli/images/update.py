"""`lookalike update`: change label and metadata of images, in this process or through a service."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.catalogue.metadata_patch import MetadataPatch
from app.cli.images.catalogues import Key, Url, find
from app.cli.images.open_catalogue import open_catalogue
from app.cli.images.selection import STEP, Conditions, batches, images, require_selection, table_keys
from app.cli.terminal import confirmed, console, exit_on_error, fail
from app.common.json_values import parse_json
from app.settings import Settings


def update(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of the images to change.", show_default=False)] = None,
    label: Annotated[str | None, typer.Option(help="Change the images with this label.")] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", help='Change the images that pass a filter, such as `{"price": {"$lt": 5}}`.'),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Change the images with these words in key, label or metadata.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Change the images that a table (.csv, .jsonl) names by its column `key`, or else `file`."),
    ] = None,
    set_label: Annotated[str | None, typer.Option(help="The new label.")] = None,
    remove_label: Annotated[bool, typer.Option("--remove-label", help="Remove the label.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A metadata field and its value, such as `price=79` or `season=summer`; repeatable."
        ),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A metadata field to remove; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Change without asking.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Change the label or metadata of images, after asking. Services may run meanwhile.

    A value that is JSON, such as `79`, `true` or `[41, 42]`, has its type; any other value is text. The exit status is
    1 if no image matches, or a key is not in the catalogue.
    """
    with exit_on_error():
        settings = Settings()
        conditions = Conditions(label, filter_, text)
        require_selection("update", keys, conditions, table)
        changes = _changes(set_label, set_ or (), remove or (), remove_label=remove_label)
        wanted = table_keys(table) if table is not None else keys or None
        with open_catalogue(settings, url, api_key) as catalogue:
            ids, missing = find(catalogue, wanted, conditions)
            if not ids:
                fail("Nothing was updated: no image matches.")
            if not yes and not confirmed(f"Change {images(len(ids))} of {catalogue.total():,}?"):
                fail("Nothing was updated. Pass --yes to change without being asked.")
            changed = sum(catalogue.update(step, changes) for step in batches(ids, STEP))
        console().print(f"{images(changed)} changed, {len(ids) - changed:,} unchanged.")
        if missing and table is None:
            raise typer.Exit(1)


def _changes(
    set_label: str | None, fields: Sequence[str], removed: Sequence[str], *, remove_label: bool
) -> MetadataPatch:
    """Return label and metadata to set; null removes."""
    if set_label is not None and remove_label:
        fail("Give --set-label or --remove-label, not both.")
    metadata: dict[str, Any] = dict.fromkeys(removed)
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals or not name:
            fail(f"--set {field}: not a field and its value, such as price=79.")
        if name in metadata:
            fail(f"--set, --remove: the field {name} is given twice.")
        metadata[name] = _value(value)
    changes: MetadataPatch = {"label": set_label} if set_label is not None or remove_label else {}
    if metadata:
        changes["metadata"] = metadata
    if not changes:
        fail("Say what to change: --set-label, --remove-label, --set or --remove.")
    try:
        checked: MetadataPatch = parse_json(json.dumps(changes))
    except ValueError as error:
        fail(f"The new values cannot be stored: {error}.")
    return checked


def _value(text: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return text
