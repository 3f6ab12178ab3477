"""Searching: by an uploaded picture, or by one of the catalogue."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, File, UploadFile

from app.api.dependencies import PictureId, SearchOptionsDep, ServiceDep, ThreadsDep
from app.api.metrics import MetricsDep
from app.api.schemas import PROBLEM, MatchOut, SearchOut, urls
from app.catalogue.queries import Shown
from app.lifespan import Service
from app.search.pipeline import Answer

RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such picture.", **PROBLEM},
    413: {"description": "The picture is too large.", **PROBLEM},
    422: {"description": "A parameter or the picture cannot be used.", **PROBLEM},
    503: {"description": "Not now; see Retry-After.", **PROBLEM},
}

router = APIRouter(tags=["search"], responses=RESPONSES)


@router.post("/search", operation_id="search", summary="What looks like this picture?")
async def search(
    image: Annotated[UploadFile, File(description="JPEG, PNG, WebP, GIF, BMP, AVIF or HEIC.")],
    options: SearchOptionsDep,
    service: ServiceDep,
    metrics: MetricsDep,
    threads: ThreadsDep,
) -> SearchOut:
    """Finds the pictures of the catalogue that look most like the uploaded one, the nearest first."""
    data, loop = await image.read(), asyncio.get_running_loop()
    answer = await loop.run_in_executor(threads, service.searcher.by_picture, data, options)
    metrics.count_search(options.mode, answer.timings)
    return _show(service, answer)


@router.get("/images/{picture_id}/similar", operation_id="similar", summary="What looks like this one of yours?")
def similar(
    picture_id: PictureId,
    options: SearchOptionsDep,
    service: ServiceDep,
    metrics: MetricsDep,
) -> SearchOut:
    """Finds the pictures that look most like one of the catalogue, which comes first itself."""
    answer = service.searcher.by_id(picture_id, options)
    metrics.count_search(options.mode, answer.timings)
    return _show(service, answer)


def _show(service: Service, answer: Answer[Shown]) -> SearchOut:
    return SearchOut(
        model=service.network.fingerprint,
        code=answer.code.tobytes().hex(),
        mode=answer.options.mode,
        pool_size=answer.pool_size,
        catalogue_size=answer.catalogue_size,
        results=[
            MatchOut(
                id=match.id,
                key=picture.key,
                distance=match.distance,
                hamming=match.hamming,
                label=picture.label,
                metadata=picture.fields,
                **urls(match.id),
            )
            for match, picture in answer.matches
        ],
        timings_ms={name: round(value, 3) for name, value in answer.timings.items()},
    )
