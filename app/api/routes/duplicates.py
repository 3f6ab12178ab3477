"""What is in the catalogue twice: `GET /duplicates`, `GET /images/{id}/duplicates`."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.admission.shares import Charge
from app.api.dependencies import ChargeDep, Cursor, ImageId, ServiceDep, after
from app.api.routes.images import PAGE_BYTES
from app.api.schemas.images import IN_MEMORY, PROBLEM, DuplicateGroupOut, DuplicatesOut, MatchOut
from app.catalogue import queries
from app.errors import NotFoundError
from app.model_switch.active import OpenGeneration
from app.search.duplicates import distance_of, duplicates, groups
from app.search.pipeline import similar_enough
from app.search.types import Match

router = APIRouter(
    tags=["catalogue"],
    responses={
        404: {"description": "There is no such picture.", **PROBLEM},
        422: {"description": "A parameter cannot be used.", **PROBLEM},
        503: {"description": "Not now; see Retry-After.", **PROBLEM},
    },
)

Distance = Annotated[
    float | None,
    Query(
        ge=0,
        le=1e6,
        description="How far apart on F7 two pictures may be; by default as far as a picture is from a copy of "
        "itself that was saved anew, which the network's calibration knows.",
    ),
]


@router.get("/images/{image_id}/duplicates", operation_id="get_duplicates", summary="Is this one there twice?")
def duplicates_of(
    image_id: ImageId, service: ServiceDep, charge: ChargeDep, max_distance: Distance = None
) -> list[MatchOut]:
    """Finds the pictures that are as good as the same as one of the catalogue, the nearest first."""

    def look(now: OpenGeneration) -> list[MatchOut]:
        found = duplicates(
            now.follower.current(), image_id, distance_of(now.network.similarity, max_distance), now.network.pool
        )
        if found is None:
            raise NotFoundError("picture", image_id)
        return _show(now, found, charge)

    return service.handover.do(look)


@router.get("/duplicates", operation_id="list_duplicates", summary="What is there twice?")
def duplicates_in_catalogue(
    service: ServiceDep,
    charge: ChargeDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many pictures to look at.")] = 200,
    cursor: Cursor = None,
    max_distance: Distance = None,
) -> DuplicatesOut:
    """Looks through the catalogue, page by page, for pictures that are as good as the same.

    Each group stands under its oldest picture. A page without groups is not the last unless `next_cursor` is null.
    """

    def look(now: OpenGeneration) -> DuplicatesOut:
        within, index = distance_of(now.network.similarity, max_distance), now.follower.current()
        with service.database.asking() as session:
            ids = queries.ids_after(session, after(cursor), limit)
        shown, cursor_after = list[DuplicateGroupOut](), str(ids[-1]) if len(ids) == limit else None
        for oldest, matches in groups(index, ids, within, now.network.pool):
            group = _show(now, [Match(oldest, 0.0, 0), *matches], charge)
            if group and group[0].id == oldest:
                shown.append(DuplicateGroupOut(image=group[0], duplicates=group[1:]))
            if charge.held > IN_MEMORY * PAGE_BYTES:
                cursor_after = str(oldest)
                break
        return DuplicatesOut(groups=shown, max_distance=within, next_cursor=cursor_after)

    return service.handover.do(look)


def _show(now: OpenGeneration, matches: list[Match], charge: Charge) -> list[MatchOut]:
    rows, known = now.follower.rows([match.id for match in matches]), now.network.similarity
    charge.add(IN_MEMORY * sum(row.size for row in rows.values()))
    similar = similar_enough(matches, None if known is None else known.features, None)
    return [MatchOut.of(match, rows[match.id]) for match in similar if match.id in rows]
