"""`lookalike duplicates`: what is in the catalogue twice."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, errors_as_sentences, progress_bar
from app.settings import Settings

if TYPE_CHECKING:
    from app.bootstrap import Service

_AT_A_TIME = 200


def duplicates(
    max_distance: Annotated[
        float | None, typer.Option(min=0, help="How far apart on F7; by default what the network's calibration says.")
    ] = None,
) -> None:
    """List pictures that are as good as the same: scaled, saved anew, or added twice."""
    with errors_as_sentences():
        from app.bootstrap import open_service
        from app.search.duplicates import distance_of

        with open_service(Settings()) as service, progress_bar() as bar:
            within = distance_of(service.network.similarity, max_distance)
            task, groups = bar.add_task("looking", total=len(service.follower.current())), 0
            for looked_at, lines in _parts(service, within):
                for line in lines:
                    console().print(line, soft_wrap=True)
                groups += len(lines)
                bar.advance(task, looked_at)
        found = "1 group" if groups == 1 else f"{groups or 'no'} groups"
        console().print(f"{found} of pictures within {within:.3f} of each other")


def _parts(service: "Service", within: float) -> Iterator[tuple[int, list[str]]]:
    """Looks through the catalogue; yields how many pictures a part has, and a line for each of its groups."""
    from app.catalogue import queries
    from app.search.duplicates import groups

    after = 0
    while True:
        # Anew for each part: vectors of pictures that went meanwhile go too, minutes later.
        index = service.follower.current()
        with service.database.asking() as session:
            ids = queries.ids_after(session, after, _AT_A_TIME)
        if not ids:
            return
        found = dict(groups(index, ids, within, service.network.pool))
        rows = service.follower.rows([*found, *(match.id for matches in found.values() for match in matches)])
        lines = [
            f"{rows[oldest].key}: {', '.join(f'{rows[match.id].key} ({match.distance:.3f})' for match in matches)}"
            for oldest, matches in found.items()
            if {oldest, *(match.id for match in matches)} <= rows.keys()
        ]
        yield len(ids), lines
        after = ids[-1]
