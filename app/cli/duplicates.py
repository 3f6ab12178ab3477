"""`lookalike duplicates`, `distinct`, `merge`: list duplicate images, decide which are none, merge them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.images.selection import images
from app.cli.terminal import console, exit_on_error, fail, progress_bar
from app.common.json_values import is_storable
from app.common.unicode_names import nfc
from app.settings import Settings

if TYPE_CHECKING:
    from app.bootstrap import Service
    from app.search.duplicates import DuplicateFinder, DuplicateKind

_BATCH_SIZE = 200


def duplicates(
    near: Annotated[
        bool,
        typer.Option("--near", help="List other pictures that are nearly as similar, such as mirrored ones."),
    ] = False,
    max_distance: Annotated[
        float | None, typer.Option(min=0, help="Maximum distance on F7. Default: from the model's calibration.")
    ] = None,
) -> None:
    """List groups of duplicates: images that were scaled, saved again or added twice, compared by their pixels."""
    with exit_on_error():
        from app.bootstrap import open_service
        from app.search.duplicates import DuplicateKind

        kind = DuplicateKind.NEAR if near else DuplicateKind.EXACT

        with open_service(Settings()) as service, progress_bar() as bar:
            task, groups = bar.add_task("comparing", total=len(service.index_sync.synced_index())), 0
            for compared, lines in _batches(service, kind, max_distance):
                for line in lines:
                    console().print(line, soft_wrap=True)
                groups += len(lines)
                bar.advance(task, compared)
        found = "1 group" if groups == 1 else f"{groups or 'no'} groups"
        console().print(f"{found} of {'near-duplicates' if near else 'duplicates'}")


def distinct(
    keys: Annotated[list[str], typer.Argument(help="Keys of two or more images.", show_default=False)],
    undo: Annotated[bool, typer.Option("--undo", help="Forget the decision.")] = False,
) -> None:
    """Remember that no two of some images are duplicates; the lists of duplicates leave these pairs out."""
    with exit_on_error():
        from app.bootstrap import open_service
        from app.catalogue.duplicates.distinct_pairs import mark_distinct, unmark_distinct

        with open_service(Settings()) as service:
            ids = _ids(service, keys)
            if ids[1:] == []:
                fail("Name two or more images.")
            with service.database.transaction() as session:
                pairs = unmark_distinct(session, ids) if undo else mark_distinct(session, ids)
        console().print(f"{'1 pair' if pairs == 1 else f'{pairs:,} pairs'} {'forgotten' if undo else 'remembered'}.")


def merge(
    keep: Annotated[str, typer.Argument(help="Key of the image to keep.", show_default=False)],
    others: Annotated[list[str], typer.Argument(help="Keys of its duplicates.", show_default=False)],
) -> None:
    """Keep one image, add the label and metadata that only its duplicates have, and delete the duplicates."""
    with exit_on_error():
        from app.bootstrap import open_service

        with open_service(Settings()) as service:
            keep_id, *other_ids = _ids(service, [keep, *others])
            if not other_ids:
                fail("Name an image to merge besides the one to keep.")
            merged = service.trash.merge(keep_id, other_ids)
        names = [*(["label"] if "label" in merged.added else []), *merged.added.get("metadata", {})]
        console().print(
            f"{images(len(other_ids))} merged into {keep}; added: {', '.join(names) or 'nothing'}.", soft_wrap=True
        )


def _ids(service: "Service", keys: list[str]) -> list[int]:
    """Return the ids of images by key, each once; exit with an error if one does not exist."""
    from app.catalogue import queries

    wanted = list(dict.fromkeys(map(nfc, keys)))
    with service.database.read_session() as session:
        found = queries.ids_by_key(session, list(filter(is_storable, wanted)))
    if missing := [key for key in wanted if key not in found]:
        fail(f"Not in the catalogue: {', '.join(missing)}. Nothing was changed.")
    return [found[key] for key in wanted]


def _batches(service: "Service", kind: "DuplicateKind", max_distance: float | None) -> Iterator[tuple[int, list[str]]]:
    """Compare the catalogue batch by batch; yields the size of a batch and a line for each of its groups."""
    from app.catalogue import queries

    after = 0
    while True:
        # A new one for each batch: vectors of images that are deleted meanwhile are freed minutes later.
        finder = service.model_switch.active.duplicate_finder(kind, max_distance)
        with service.database.read_session() as session:
            ids = queries.ids_after(session, after, _BATCH_SIZE)
        if not ids:
            return
        yield len(ids), _lines(service, finder, ids)
        after = ids[-1]


def _lines(service: "Service", finder: "DuplicateFinder", ids: list[int]) -> list[str]:
    """Return a line for each group: the key of its oldest image, then those of the others with their distances."""
    lines = []
    for group in finder.groups(ids):
        rows = service.index_sync.summaries([group.oldest, *(match.id for match in group.duplicates)])
        others = [f"{rows[one.id].key} ({one.distance:.3f})" for one in group.duplicates if one.id in rows]
        if group.oldest in rows and others:
            lines.append(f"{rows[group.oldest].key}: {', '.join(others)}{'' if group.complete else ' and more'}")
    return lines
