"""Searching: by an uploaded picture, or by one of the catalogue."""

import asyncio
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import replace
from itertools import zip_longest
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile

from app.api.dependencies import PictureId, SearchOptionsDep, ServiceDep, ThreadsDep, notes
from app.api.schemas import PROBLEM, BatchItemOut, BatchOut, MatchOut, SearchOut
from app.catalogue.queries import Shown
from app.errors import PictureRefusedError
from app.lifespan import Service
from app.search.decode import Crop
from app.search.pipeline import Answer
from app.search.types import SearchOptions

MOST_QUERIES = 32
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
    threads: ThreadsDep,
    crop: Annotated[
        str | None,
        Query(
            pattern=r"^\d{1,9}(,\d{1,9}){3}$",
            description="Search with a part of the picture: x, y, width and height in pixels of the upright picture.",
            examples=["120,40,300,400"],
        ),
    ] = None,
) -> SearchOut:
    """Finds the pictures of the catalogue that look most like the uploaded one, the nearest first."""
    if crop is not None:
        options = replace(options, crop=Crop(*map(int, crop.split(","))))
    return await _search(image, options, service, threads)


@router.post("/search/batch", operation_id="search_batch", summary="What looks like each of these pictures?")
async def search_batch(
    images: Annotated[list[UploadFile], File(description="Up to 32 pictures.", min_length=1, max_length=MOST_QUERIES)],
    options: SearchOptionsDep,
    service: ServiceDep,
    threads: ThreadsDep,
) -> BatchOut:
    """Searches with several pictures at once; one that cannot be used costs the others nothing."""

    async def one(image: UploadFile) -> BatchItemOut:
        try:
            return BatchItemOut(answer=await _search(image, options, service, threads))
        except PictureRefusedError as refused:
            return BatchItemOut(error=refused.reason)

    return BatchOut(items=list(await asyncio.gather(*map(one, images))))


@router.get("/images/{picture_id}/similar", operation_id="similar", summary="What looks like this one of yours?")
def similar(
    picture_id: PictureId,
    options: SearchOptionsDep,
    service: ServiceDep,
) -> SearchOut:
    """Finds the pictures that look most like one of the catalogue, which comes first itself."""
    return _show(service, service.searcher.by_id(picture_id, options))


async def _search(image: UploadFile, options: SearchOptions, service: Service, threads: Executor) -> SearchOut:
    data = await image.read()

    def work() -> SearchOut:
        return _show(service, service.searcher.by_picture(data, options))

    # What is known of the request goes along into the thread.
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, work)


def _show(service: Service, answer: Answer[Shown]) -> SearchOut:
    return SearchOut(
        model=answer.model,
        code=answer.code.tobytes().hex(),
        mode=answer.options.mode,
        pool_size=answer.pool_size,
        catalogue_size=answer.catalogue_size,
        results=[
            MatchOut.of(match, picture, explanation)
            for (match, picture), explanation in zip_longest(answer.matches, answer.explanations)
        ],
        notes=notes(service, answer.options.label, answer.options.filter) if not answer.matches else [],
        timings_ms={name: round(value, 3) for name, value in answer.timings.items()},
    )
