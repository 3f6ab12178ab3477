"""Near-duplicate images: `GET /duplicates`, `GET /images/{id}/duplicates`."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.admission.fair_limit import Charge
from app.api.dependencies import ChargeDep, Cursor, ImageId, ServiceDep, parse_cursor
from app.api.paths import RootPathDep
from app.api.routes.images import PAGE_BYTES
from app.api.schemas.images import JSON_MEMORY_FACTOR, PROBLEM
from app.api.schemas.searches import DuplicateGroupOut, DuplicatesOut, MatchOut
from app.catalogue import queries
from app.errors import NotFoundError
from app.model_switch.active import OpenIndexVersion
from app.search.duplicates import duplicate_distance, duplicate_groups, find_duplicates
from app.search.ranking import with_similarity
from app.search.types import Match

router = APIRouter(
    tags=["catalogue"],
    responses={
        404: {"description": "There is no such image.", **PROBLEM},
        422: {"description": "A parameter is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)

Distance = Annotated[
    float | None,
    Query(
        ge=0,
        le=1e6,
        description="Maximum L2 distance on F7. Default: the distance between an image and a recompressed copy, from "
        "the model's calibration.",
    ),
]


@router.get("/images/{image_id}/duplicates", operation_id="get_duplicates", summary="Duplicates of an image")
def duplicates_of(
    image_id: ImageId,
    service: ServiceDep,
    charge: ChargeDep,
    root_path: RootPathDep,
    max_distance: Distance = None,
) -> list[MatchOut]:
    """Find near-duplicates of an image of the catalogue, nearest first."""

    def find(now: OpenIndexVersion) -> list[MatchOut]:
        found = find_duplicates(
            now.index_sync.synced_index(),
            image_id,
            duplicate_distance(now.network.similarity, max_distance),
            now.network.pool,
        )
        if found is None:
            raise NotFoundError("image", image_id)
        return _matches_out(now, found, charge, root_path)

    return service.model_switch.run(find)


@router.get("/duplicates", operation_id="list_duplicates", summary="Duplicates in the catalogue")
def duplicates_in_catalogue(
    service: ServiceDep,
    charge: ChargeDep,
    root_path: RootPathDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Number of images to check.")] = 200,
    cursor: Cursor = None,
    max_distance: Distance = None,
) -> DuplicatesOut:
    """Find groups of near-duplicates in the catalogue, page by page.

    Each group is listed once, with its oldest image. A page may have no groups; the last one has a null `next_cursor`.
    """

    def find(now: OpenIndexVersion) -> DuplicatesOut:
        distance, index = duplicate_distance(now.network.similarity, max_distance), now.index_sync.synced_index()
        with service.database.read_session() as session:
            ids = queries.ids_after(session, parse_cursor(cursor), limit)
        groups_out, next_cursor = list[DuplicateGroupOut](), str(ids[-1]) if len(ids) == limit else None
        for oldest, matches in duplicate_groups(index, ids, distance, now.network.pool):
            group = _matches_out(now, [Match(oldest, 0.0, 0), *matches], charge, root_path)
            if group and group[0].id == oldest:
                groups_out.append(DuplicateGroupOut(image=group[0], duplicates=group[1:]))
            if charge.held > JSON_MEMORY_FACTOR * PAGE_BYTES:
                next_cursor = str(oldest)
                break
        return DuplicatesOut(groups=groups_out, max_distance=distance, next_cursor=next_cursor)

    return service.model_switch.run(find)


def _matches_out(now: OpenIndexVersion, matches: list[Match], charge: Charge, root_path: str) -> list[MatchOut]:
    rows, known = now.index_sync.summaries([match.id for match in matches]), now.network.similarity
    charge.add(JSON_MEMORY_FACTOR * sum(row.size for row in rows.values()))
    similar = with_similarity(matches, None if known is None else known.features, None)
    return [MatchOut.of(match, rows[match.id], root_path) for match in similar if match.id in rows]
