"""`lookalike duplicates`, `distinct`, `merge`: list duplicate images, decide which are none, merge them."""

from typing import Annotated

import typer

from app.cli.images.catalogues import DuplicateKeys, Key, Url, find_all
from app.cli.images.open_catalogue import open_catalogue
from app.cli.images.selection import images
from app.cli.terminal import console, exit_on_error, fail, notice, progress_bar
from app.settings import Settings


def duplicates(
    near: Annotated[
        bool,
        typer.Option("--near", help="List other pictures that are nearly as similar, such as mirrored ones."),
    ] = False,
    max_distance: Annotated[
        float | None, typer.Option(min=0, help="Maximum distance on F7. Default: from the model's calibration.")
    ] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """List groups of duplicates: images that were scaled, saved again or added twice, compared by their pixels."""
    with exit_on_error():
        count = 0
        with open_catalogue(Settings(), url, api_key) as catalogue, progress_bar() as bar:
            task = bar.add_task("comparing", total=catalogue.total())
            for compared, groups in catalogue.duplicates(near, max_distance):
                for group in groups:
                    console().print(_line(group), soft_wrap=True)
                count += len(groups)
                bar.advance(task, compared)
        found = "1 group" if count == 1 else f"{count or 'no'} groups"
        console().print(f"{found} of {'near-duplicates' if near else 'duplicates'}")


def distinct(
    keys: Annotated[list[str], typer.Argument(help="Keys of two or more images.", show_default=False)],
    undo: Annotated[bool, typer.Option("--undo", help="Forget the decision.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Remember that no two of some images are duplicates; the lists of duplicates leave these pairs out."""
    with exit_on_error():
        with open_catalogue(Settings(), url, api_key) as catalogue:
            ids = find_all(catalogue, keys)
            if ids[1:] == []:
                fail("Name two or more images.")
            pairs = catalogue.mark_distinct(ids, undo=undo)
        console().print(f"{'1 pair' if pairs == 1 else f'{pairs:,} pairs'} {'forgotten' if undo else 'remembered'}.")


def merge(
    keep: Annotated[str, typer.Argument(help="Key of the image to keep.", show_default=False)],
    others: Annotated[list[str], typer.Argument(help="Keys of its duplicates.", show_default=False)],
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Keep one image, add the label and metadata that only its duplicates have, and delete the duplicates."""
    with exit_on_error():
        with open_catalogue(Settings(), url, api_key) as catalogue:
            keep_id, *other_ids = find_all(catalogue, [keep, *others])
            if not other_ids:
                fail("Name an image to merge besides the one to keep.")
            merged = catalogue.merge(keep_id, other_ids)
        names = [*(["label"] if merged.label is not None else []), *merged.metadata]
        merged_images = images(len(other_ids))
        console().print(f"{merged_images} merged into {keep}; added: {', '.join(names) or 'nothing'}.", soft_wrap=True)
        if merged.deletion_id is not None:
            notice(f"`lookalike trash restore --deletion {merged.deletion_id}` restores {merged_images}.")


def _line(group: DuplicateKeys) -> str:
    others = ", ".join(f"{key} ({distance:.3f})" for key, distance in group.others)
    return f"{group.oldest}: {others}{'' if group.complete else ' and more'}"
