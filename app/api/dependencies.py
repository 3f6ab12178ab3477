"""What endpoints ask for, as annotated types."""

from typing import Annotated, cast

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Path, Query, Request

from app.api.admission.middleware import CALLER, CHARGE
from app.api.admission.shares import Charge
from app.api.admission.threads import PromptThreads, Searches
from app.bootstrap import Service
from app.errors import InvalidInputError
from app.observability.metrics import Metrics
from app.observability.process_gauges import Gauges
from app.search.filter import Filter, read_filter
from app.search.types import Mode, SearchOptions

MAX_K = 1000
MAX_POOL = 1_000_000
MAX_BITS = 4096
MAX_ID = 2**63 - 1
MAX_FILTER = 8192
ImageId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[1])]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]
Label = Annotated[str, Query(max_length=512, pattern=r"^[^\x00]*$", description="Only pictures with this label.")]


async def get_service(request: Request) -> Service:
    """Returns the service that the application's lifespan opened."""
    return cast("Service", request.state.service)


async def get_metrics(request: Request) -> Metrics:
    """Returns the application's metrics."""
    return cast("Metrics", request.app.state.metrics)


async def get_gauges(request: Request) -> Gauges:
    """Returns what looks how this process is."""
    return cast("Gauges", request.state.gauges)


async def get_prompt_threads(request: Request) -> PromptThreads:
    """Returns the threads for health and metrics."""
    return cast("PromptThreads", request.state.prompt_threads)


async def get_file_threads(request: Request) -> CapacityLimiter:
    """Returns the limit of threads that read images which are sent."""
    return cast("CapacityLimiter", request.state.file_threads)


async def get_searches(request: Request) -> Searches:
    """Returns what runs this request's searches."""
    return Searches(request.state.threads, request.scope["state"][CALLER])


async def get_charge(request: Request) -> Charge:
    """Returns the bytes that this request is charged."""
    return cast("Charge", request.scope["state"][CHARGE])


async def get_filter(
    filter_: Annotated[
        str | None,
        Query(
            alias="filter",
            max_length=MAX_FILTER,
            description="Only pictures that pass: a JSON object of fields of their metadata, `label` or `key`, with "
            "values, or `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`; `$and`, `$or`, `$not` "
            "combine.",
            examples=['{"price": {"$lte": 50}, "colour": {"$in": ["red", "blue"]}}'],
        ),
    ] = None,
) -> Filter | None:
    """Reads a filter, beside the loop that other requests wait for."""
    return None if filter_ is None else await to_thread.run_sync(read_filter, filter_)


FilterDep = Annotated[Filter | None, Depends(get_filter)]


async def get_search_options(
    k: Annotated[int, Query(ge=1, le=MAX_K, description="The most results.")] = 10,
    mode: Annotated[
        Mode,
        Query(description="`hds`: codes, then exact distances; `bcs`: codes alone; `es`: exact over everything."),
    ] = Mode.HDS,
    pool: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_POOL,
            description="The most candidates; as many as suit the network unless `radius` is given without it.",
        ),
    ] = None,
    radius: Annotated[
        int | None, Query(ge=0, le=MAX_BITS, description="The largest Hamming distance of a candidate.")
    ] = None,
    label: Label | None = None,
    filter_: FilterDep = None,
    min_similarity: Annotated[float | None, Query(ge=0, le=1, description="Only matches so similar, 0 to 1.")] = None,
    group_by: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=512,
            description="Only the best match of those whose metadata has the same in this field, such as `product`. "
            "A picture without the field stands for itself.",
        ),
    ] = None,
    explain: Annotated[bool, Query(description="Say why each match is where it is.")] = False,
) -> SearchOptions:
    """Reads what a search asks for from the query parameters."""
    return SearchOptions(
        k=k,
        mode=mode,
        pool=pool,
        radius=radius,
        label=label,
        filter=filter_,
        min_similarity=min_similarity,
        group_by=group_by,
        explain=explain,
    )


def after(cursor: str | None) -> int:
    """Returns the id after which a page begins.

    Raises:
        InvalidInputError: it is no cursor.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) > MAX_ID:
        raise InvalidInputError("cursor", "is not a next_cursor of an earlier page")
    return int(cursor)


def warnings(service: Service, label: str | None, filter_: Filter | None) -> list[str]:
    """Says what filters that let nothing through ask for and no picture has."""
    return service.summaries.unknown(service.database, label, filter_)


ServiceDep = Annotated[Service, Depends(get_service)]
MetricsDep = Annotated[Metrics, Depends(get_metrics)]
GaugesDep = Annotated[Gauges, Depends(get_gauges)]
PromptThreadsDep = Annotated[PromptThreads, Depends(get_prompt_threads)]
FileThreadsDep = Annotated[CapacityLimiter, Depends(get_file_threads)]
SearchesDep = Annotated[Searches, Depends(get_searches)]
ChargeDep = Annotated[Charge, Depends(get_charge)]
SearchOptionsDep = Annotated[SearchOptions, Depends(get_search_options)]
