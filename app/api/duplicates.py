"""What is in the catalogue twice: `GET /duplicates`, `GET /images/{id}/duplicates`."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import Cursor, PictureId, ServiceDep, after
from app.api.schemas import PROBLEM, DuplicateGroupOut, DuplicatesOut, MatchOut
from app.catalogue import queries
from app.errors import NotFoundError
from app.search.duplicates import distance_of, duplicates, groups
from app.search.pipeline import similar_enough
from app.search.types import Match
from app.serving import OpenGeneration

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


@router.get("/images/{picture_id}/duplicates", operation_id="duplicates_of", summary="Is this one there twice?")
def duplicates_of(picture_id: PictureId, service: ServiceDep, distance: Distance = None) -> list[MatchOut]:
    """Finds the pictures that are as good as the same as one of the catalogue, the nearest first."""

    def look(now: OpenGeneration) -> list[MatchOut]:
        found = duplicates(
            now.follower.current(), picture_id, distance_of(now.network.similarity, distance), now.network.pool
        )
        if found is None:
            raise NotFoundError("picture", picture_id)
        return _show(now, found)

    return service.handover.do(look)


@router.get("/duplicates", operation_id="duplicates", summary="What is there twice?")
def duplicates_in_catalogue(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many pictures to look at.")] = 200,
    cursor: Cursor = None,
    distance: Distance = None,
) -> DuplicatesOut:
    """Looks through the catalogue, page by page, for pictures that are as good as the same.

    Each group stands under its oldest picture. A page without groups is not the last unless `next_cursor` is null.
    """

    def look(now: OpenGeneration) -> DuplicatesOut:
        within, index = distance_of(now.network.similarity, distance), now.follower.current()
        with service.database.asking() as session:
            ids = queries.ids_after(session, after(cursor), limit)
        found = list(groups(index, ids, within, now.network.pool))
        shown = {match.id: match for match in _show(now, [Match(oldest, 0.0, 0) for oldest, _ in found])}
        return DuplicatesOut(
            groups=[
                DuplicateGroupOut(picture=shown[oldest], duplicates=_show(now, matches))
                for oldest, matches in found
                if oldest in shown
            ],
            distance=within,
            next_cursor=str(ids[-1]) if len(ids) == limit else None,
        )

    return service.handover.do(look)


def _show(now: OpenGeneration, matches: list[Match]) -> list[MatchOut]:
    rows, known = now.follower.rows([match.id for match in matches]), now.network.similarity
    similar = similar_enough(matches, None if known is None else known.features, None)
    return [MatchOut.of(match, rows[match.id]) for match in similar if match.id in rows]
