"""Searching: by an uploaded picture, or by one of the catalogue."""

from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile

from app.api.admission.shares import Charge
from app.api.dependencies import ChargeDep, ImageId, SearchesDep, SearchOptionsDep, ServiceDep, warnings
from app.api.problem_codes import image_code
from app.api.schemas.images import IN_MEMORY, PROBLEM, BatchItemOut, BatchOut, MatchOut, SearchOut
from app.bootstrap import Service
from app.catalogue.queries import Shown
from app.errors import PictureRefusedError
from app.search.decode.image import Crop
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
    searches: SearchesDep,
    charge: ChargeDep,
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
    return await searches.run(lambda: _search(image, options, service, charge))


@router.post("/search/batch", operation_id="search_batch", summary="What looks like each of these pictures?")
async def search_batch(
    images: Annotated[list[UploadFile], File(description="Up to 32 pictures.", min_length=1, max_length=MOST_QUERIES)],
    options: SearchOptionsDep,
    service: ServiceDep,
    searches: SearchesDep,
    charge: ChargeDep,
) -> BatchOut:
    """Searches with several pictures at once; one that cannot be used costs the others nothing."""

    def one(image: UploadFile) -> BatchItemOut:
        try:
            return BatchItemOut(response=_search(image, options, service, charge))
        except PictureRefusedError as refused:
            return BatchItemOut(error_code=image_code(refused.code), error=refused.reason)

    return BatchOut(items=await searches.run_all([partial(one, image) for image in images]))


@router.get("/images/{image_id}/similar", operation_id="search_similar", summary="What looks like this one of yours?")
async def similar(
    image_id: ImageId,
    options: SearchOptionsDep,
    service: ServiceDep,
    searches: SearchesDep,
    charge: ChargeDep,
) -> SearchOut:
    """Finds the pictures that look most like one of the catalogue, which comes first itself."""
    return await searches.run(lambda: _show(service, service.searcher.by_id(image_id, options), charge))


def _search(image: UploadFile, options: SearchOptions, service: Service, charge: Charge) -> SearchOut:
    # Read only now, so that of a batch no more images are in memory than threads work on.
    return _show(service, service.searcher.by_picture(image.file.read(), options), charge)


def _show(service: Service, answer: Answer[Shown], charge: Charge) -> SearchOut:
    charge.add(IN_MEMORY * sum(picture.size for _, picture in answer.matches))
    return SearchOut(
        model_fingerprint=answer.model,
        code=answer.code.tobytes().hex(),
        mode=answer.options.mode,
        pool_size=answer.pool_size,
        catalogue_size=answer.catalogue_size,
        results=[
            MatchOut.of(match, picture, explanation)
            for (match, picture), explanation in zip_longest(answer.matches, answer.explanations)
        ],
        warnings=warnings(service, answer.options.label, answer.options.filter) if not answer.matches else [],
        timings_ms={name: round(value, 3) for name, value in answer.timings.items()},
    )
