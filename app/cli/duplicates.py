"""`lookalike duplicates`: list near-duplicate images of the catalogue."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, exit_on_error, progress_bar
from app.settings import Settings

if TYPE_CHECKING:
    from app.bootstrap import Service

_BATCH_SIZE = 200


def duplicates(
    max_distance: Annotated[
        float | None, typer.Option(min=0, help="Maximum distance on F7. Default: from the model's calibration.")
    ] = None,
) -> None:
    """List near-duplicates: images that were scaled, saved again or added twice."""
    with exit_on_error():
        from app.bootstrap import open_service
        from app.search.duplicates import duplicate_distance

        with open_service(Settings()) as service, progress_bar() as bar:
            limit = duplicate_distance(service.model_info.similarity, max_distance)
            task, groups = bar.add_task("comparing", total=len(service.index_sync.synced_index())), 0
            for compared, lines in _batches(service, limit):
                for line in lines:
                    console().print(line, soft_wrap=True)
                groups += len(lines)
                bar.advance(task, compared)
        found = "1 group" if groups == 1 else f"{groups or 'no'} groups"
        console().print(f"{found} of images within {limit:.3f} of each other")


def _batches(service: "Service", limit: float) -> Iterator[tuple[int, list[str]]]:
    """Compare the catalogue batch by batch; yields the size of a batch and a line for each of its groups."""
    from app.catalogue import queries
    from app.search.duplicates import duplicate_groups

    after = 0
    while True:
        # Fetched again for each batch: vectors of images that are deleted meanwhile are freed minutes later.
        index = service.index_sync.synced_index()
        with service.database.read_session() as session:
            ids = queries.ids_after(session, after, _BATCH_SIZE)
        if not ids:
            return
        found = dict(duplicate_groups(index, ids, limit, service.model_info.pool))
        rows = service.index_sync.summaries([*found, *(match.id for matches in found.values() for match in matches)])
        lines = [
            f"{rows[oldest].key}: {', '.join(f'{rows[match.id].key} ({match.distance:.3f})' for match in matches)}"
            for oldest, matches in found.items()
            if {oldest, *(match.id for match in matches)} <= rows.keys()
        ]
        yield len(ids), lines
        after = ids[-1]
