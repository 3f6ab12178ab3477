"""Search by an uploaded image, or by an image of the catalogue."""

from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Annotated, Any

from fastapi import File, Query, Response, UploadFile

from app.api.dependencies import ImageId, SearchContext, SearchContextDep, SearchOptionsDep, filter_warnings
from app.api.examples import OPENAPI, ExamplesDep
from app.api.known_parameters import resource_router
from app.api.problem_codes import image_code
from app.api.schemas.images import JSON_MEMORY_FACTOR, PROBLEM
from app.api.schemas.searches import BatchItemOut, BatchOut, MatchOut, SearchOut
from app.api.uploads import UploadRoute
from app.bootstrap import Service
from app.catalogue.queries import ImageSummary
from app.errors import ImageRejectedError
from app.search.decode.image import Crop
from app.search.examples import make_examples
from app.search.grouping import MAX_GROUPED
from app.search.pipeline import Explanation, SearchResult
from app.search.sorting import Fields, sorted_images
from app.search.types import Match

MAX_QUERIES = 32
RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such image.", **PROBLEM},
    413: {"description": "The image is too large.", **PROBLEM},
    422: {"description": "A parameter or the image is not valid.", **PROBLEM},
    503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
}

router = resource_router("search", responses=RESPONSES, route_class=UploadRoute)


@router.post(
    "/search",
    operation_id="search",
    summary="Search by images",
    response_model=SearchOut,
    openapi_extra=OPENAPI,
)
async def search(
    sent: ExamplesDep,
    options: SearchOptionsDep,
    context: SearchContextDep,
    crop: Annotated[
        str | None,
        Query(
            pattern=r"^\d{1,9}(,\d{1,9}){3}$",
            description="Search with a part of the upload, if there is one: x, y, width and height in pixels of the "
            "upright image.",
            examples=["120,40,300,400"],
        ),
    ] = None,
) -> Response:
    """Find the images of the catalogue that are most similar to some examples, nearest first.

    Examples are uploads (`image`), images of the catalogue (`like`), and images to avoid (`unlike_image`, `unlike`).
    Without uploads, they can be sent as JSON.
    """
    if crop is not None:
        options = replace(options, crop=Crop(*map(int, crop.split(","))))
    examples = make_examples(*sent)
    return await context.executor.run(
        lambda: _response(context, context.service.searcher.by_examples(examples, options))
    )


@router.post("/search/batch", operation_id="search_batch", summary="Search by each of several images")
async def search_batch(
    images: Annotated[list[UploadFile], File(description="Up to 32 images.", min_length=1, max_length=MAX_QUERIES)],
    options: SearchOptionsDep,
    context: SearchContextDep,
) -> BatchOut:
    """Search with several images at once. An image that is not valid does not affect the others."""

    def one(image: UploadFile) -> BatchItemOut:
        # Read here, so that no more images of a batch are in memory than there are search threads.
        data = image.file.read()
        try:
            answer = context.service.searcher.by_image(data, options)
            return BatchItemOut(response=_search_out(context, answer))
        except ImageRejectedError as error:
            return BatchItemOut(error_code=image_code(error.code), error=error.reason)

    return BatchOut(items=await context.executor.run_all([partial(one, image) for image in images]))


@router.get(
    "/images/{image_id}/similar",
    operation_id="search_similar",
    summary="Search by an image of the catalogue",
    response_model=SearchOut,
)
async def similar(
    image_id: ImageId,
    options: SearchOptionsDep,
    context: SearchContextDep,
) -> Response:
    """Find the images most similar to one of the catalogue, which is itself the first result."""
    return await context.executor.run(lambda: _response(context, context.service.searcher.by_id(image_id, options)))


def _response(context: SearchContext, answer: SearchResult[ImageSummary]) -> Response:
    """Serialise a search's result in its thread; FastAPI would do it in the event loop, and validate it again."""
    out = _search_out(context, answer)
    return Response(out.model_dump_json(), media_type="application/json")


def _search_out(context: SearchContext, answer: SearchResult[ImageSummary]) -> SearchOut:
    context.charge.add(JSON_MEMORY_FACTOR * sum(image.size for _, image in answer.matches))
    results = [
        (match, image, explanation) for (match, image), explanation in zip_longest(answer.matches, answer.explanations)
    ]
    if answer.options.sort is not None:
        results = sorted_images(answer.options.sort, results, _sortable)
    return SearchOut(
        model_fingerprint=answer.model,
        code=answer.code.tobytes().hex(),
        mode=answer.options.mode,
        asymmetric=answer.asymmetric,
        pool_size=answer.pool_size,
        catalogue_size=answer.catalogue_size,
        results=[MatchOut.of(match, image, context.root_path, explanation) for match, image, explanation in results],
        group_limit_reached=answer.group_limit_reached,
        warnings=_warnings(context.service, answer),
        timings_ms={name: round(value, 3) for name, value in answer.timings.items()},
    )


def _sortable(result: tuple[Match, ImageSummary, Explanation | None]) -> Fields:
    match, image, _ = result
    return match.id, image.key, image.label, image.metadata


def _warnings(service: Service, answer: SearchResult[ImageSummary]) -> list[str]:
    warnings = list(answer.warnings)
    if answer.group_limit_reached:
        warnings.append(
            f"Only {len(answer.matches)} groups are among the nearest {max(MAX_GROUPED, answer.options.pool or 0):,} "
            "images; there may be more. Filter the images to find them."
        )
    elif not answer.matches:
        options = answer.options
        warnings += filter_warnings(service, options.label, options.filter, options.words)
    return warnings
