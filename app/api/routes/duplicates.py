"""Duplicate images: list them, decide which are none, merge them."""

import time
from typing import Annotated, Any

from fastapi import Query

from app.api.admission.fair_limit import Charge
from app.api.dependencies import ChargeDep, Cursor, ImageId, ServiceDep, parse_cursor
from app.api.known_parameters import resource_router
from app.api.paths import RootPathDep
from app.api.routes.images import PAGE_BYTES
from app.api.schemas.duplicates import DistinctIn, DistinctOut, MergedOut, MergeIn
from app.api.schemas.images import JSON_MEMORY_FACTOR, PROBLEM
from app.api.schemas.searches import DuplicateGroupOut, DuplicatesOut, MatchOut
from app.catalogue import queries
from app.catalogue.duplicates import distinct_pairs
from app.errors import NotFoundError
from app.model_switch.active import OpenIndexVersion
from app.search.duplicates import DuplicateKind
from app.search.ranking import with_similarity
from app.search.types import Match

router = resource_router(
    "catalogue",
    responses={
        404: {"description": "There is no such image.", **PROBLEM},
        422: {"description": "A parameter is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)

Kind = Annotated[
    DuplicateKind,
    Query(
        description="`exact`: the same picture saved again: scaled, recompressed, or in another format; compared by "
        "pixels. `near`: other pictures that are nearly as similar, such as mirrored ones or those on another "
        "background."
    ),
]
Distance = Annotated[
    float | None,
    Query(
        ge=0,
        le=1e6,
        description="Maximum L2 distance on F7, for `exact` of pairs whose pixels are compared. Default: from the "
        "model's calibration.",
    ),
]


# A page ends after the image during whose comparisons this time is over.
PAGE_SECONDS = 2.0

_CHANGED: dict[int | str, dict[str, Any]] = {
    409: {"description": "An image no longer exists. Nothing has changed.", **PROBLEM}
}


@router.get("/images/{image_id}/duplicates", operation_id="get_duplicates", summary="Duplicates of an image")
def duplicates_of(
    image_id: ImageId,
    service: ServiceDep,
    charge: ChargeDep,
    root_path: RootPathDep,
    kind: Kind = DuplicateKind.EXACT,
    max_distance: Distance = None,
) -> list[MatchOut]:
    """Find duplicates of an image of the catalogue, nearest first; each is compared with this image itself."""

    def find(now: OpenIndexVersion) -> list[MatchOut]:
        found = now.duplicate_finder(kind, max_distance).of_image(image_id)
        if found is None:
            raise NotFoundError("image", image_id)
        return _matches_out(now, found, charge, root_path)

    return service.model_switch.run(find)


@router.post("/duplicates/distinct", operation_id="mark_distinct", summary="Not duplicates", responses=_CHANGED)
def mark_distinct(body: DistinctIn, service: ServiceDep) -> DistinctOut:
    """Remember that no two of some images are duplicates: no list of duplicates has these pairs any more."""
    with service.database.transaction() as session:
        return DistinctOut(pairs=distinct_pairs.mark_distinct(session, body.ids))


@router.delete("/duplicates/distinct", operation_id="unmark_distinct", summary="Undo: not duplicates")
def unmark_distinct(body: DistinctIn, service: ServiceDep) -> DistinctOut:
    """Undo `POST /duplicates/distinct` of the same images, or of some of them."""
    with service.database.transaction() as session:
        return DistinctOut(pairs=distinct_pairs.unmark_distinct(session, body.ids))


@router.post("/duplicates/merge", operation_id="merge_duplicates", summary="Merge duplicates", responses=_CHANGED)
def merge(body: MergeIn, service: ServiceDep, root_path: RootPathDep) -> MergedOut:
    """Keep one image, give it the label and fields that only the others have, and delete the others.

    Of several others that have a field, the first counts. `POST /trash/restore` restores the others for some time.
    """
    others = list(dict.fromkeys(body.merge))
    return MergedOut.of(service.trash.merge(body.keep, others), len(others), root_path)


@router.get("/duplicates", operation_id="list_duplicates", summary="Duplicates in the catalogue")
def duplicates_in_catalogue(
    service: ServiceDep,
    charge: ChargeDep,
    root_path: RootPathDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Number of images to check.")] = 200,
    cursor: Cursor = None,
    kind: Kind = DuplicateKind.EXACT,
    max_distance: Distance = None,
) -> DuplicatesOut:
    """Find groups of duplicates in the catalogue, page by page.

    Each group is listed once, with its oldest image: all images that are connected by pairs of duplicates, wherever
    they are in the catalogue. A page may have no groups, and ends before `limit` if the comparisons take long; the last
    one has a null `next_cursor`.
    """

    def find(now: OpenIndexVersion) -> DuplicatesOut:
        finder, started = now.duplicate_finder(kind, max_distance), time.monotonic()
        with service.database.read_session() as session:
            ids = queries.ids_after(session, parse_cursor(cursor), limit)
        groups_out, next_cursor = list[DuplicateGroupOut](), str(ids[-1]) if len(ids) == limit else None
        for image_id in ids:
            if (group := finder.group_of_oldest(image_id)) is not None:
                images = _matches_out(now, [Match(group.oldest, 0.0, 0), *group.duplicates], charge, root_path)
                # Images that were deleted meanwhile are missing.
                if len(images) > 1 and images[0].id == group.oldest:
                    out = DuplicateGroupOut(image=images[0], duplicates=images[1:], complete=group.complete)
                    groups_out.append(out)
            if charge.held > JSON_MEMORY_FACTOR * PAGE_BYTES or time.monotonic() - started > PAGE_SECONDS:
                next_cursor = str(image_id) if image_id != ids[-1] else next_cursor
                break
        return DuplicatesOut(groups=groups_out, kind=kind, max_distance=finder.max_distance, next_cursor=next_cursor)

    return service.model_switch.run(find)


def _matches_out(now: OpenIndexVersion, matches: list[Match], charge: Charge, root_path: str) -> list[MatchOut]:
    rows, known = now.index_sync.summaries([match.id for match in matches]), now.network.similarity
    charge.add(JSON_MEMORY_FACTOR * sum(row.size for row in rows.values()))
    similar = with_similarity(matches, None if known is None else known.features, None)
    return [MatchOut.of(match, rows[match.id], root_path) for match in similar if match.id in rows]
