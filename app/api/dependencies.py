"""Dependencies of endpoints, as annotated types, and the parameters that several endpoints share."""

from dataclasses import dataclass
from typing import Annotated, cast

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Path, Query, Request

from app.api.admission.fair_limit import Charge
from app.api.admission.middleware import CALLER, CHARGE
from app.api.admission.threads import ReservedThreads, SearchExecutor
from app.api.paths import root_path_of
from app.bootstrap import Service
from app.common.json_values import MAX_ID
from app.errors import InvalidInputError
from app.ingest.uploads import OnDuplicate
from app.observability.metrics import Metrics
from app.observability.process_gauges import ProcessGauges
from app.search.filter import Filter, parse_filter
from app.search.sorting import Sort, parse_sort
from app.search.types import Mode, SearchOptions
from app.search.words import TextQuery, parse_text

MAX_K = 1000
MAX_POOL = 1_000_000
MAX_BITS = 4096
MAX_FILTER = 8192
MAX_SORT = 513
ImageId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[1])]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the previous page.")]
Label = Annotated[str, Query(max_length=512, pattern=r"^[^\x00]*$", description="Only images with this label.")]

OnDuplicateParameter = Annotated[
    OnDuplicate,
    Query(description="Whether to `add` or `skip` new keys for bytes that the catalogue has under another key."),
]


async def get_service(request: Request) -> Service:
    """Return the service opened by the application's lifespan."""
    return cast("Service", request.state.service)


async def get_charge(request: Request) -> Charge:
    """Return the memory charged to this request."""
    return cast("Charge", request.scope["state"][CHARGE])


async def get_metrics(request: Request) -> Metrics:
    """Return the application's metrics."""
    return cast("Metrics", request.app.state.metrics)


async def get_gauges(request: Request) -> ProcessGauges:
    """Return the process gauges."""
    return cast("ProcessGauges", request.state.gauges)


async def get_reserved_threads(request: Request) -> ReservedThreads:
    """Return the threads for health and metrics."""
    return cast("ReservedThreads", request.state.reserved_threads)


async def get_file_threads(request: Request) -> CapacityLimiter:
    """Return the limiter of threads that read image files for downloads."""
    return cast("CapacityLimiter", request.state.file_threads)


@dataclass(frozen=True)
class SearchContext:
    """What a search needs of its request.

    FastAPI takes as long for one dependency as for four fields, so a search has few.

    Attributes:
        service: the service.
        executor: runs the request's searches.
        charge: memory charged to the request.
        root_path: what every URL in the response begins with.
    """

    service: Service
    executor: SearchExecutor
    charge: Charge
    root_path: str


async def get_search_context(request: Request) -> SearchContext:
    """Return what a search needs of its request."""
    state = request.scope["state"]
    executor = SearchExecutor(state["threads"], state[CALLER])
    return SearchContext(state["service"], executor, state[CHARGE], root_path_of(request.scope))


FilterField = Annotated[
    str | None,
    Query(
        alias="filter",
        max_length=MAX_FILTER,
        description="Only images that match this filter: a JSON object of metadata fields, `label` or `key`, with "
        "values, or `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`; `$and`, `$or`, `$not` "
        "combine.",
        examples=['{"price": {"$lte": 50}, "colour": {"$in": ["red", "blue"]}}'],
    ),
]


async def get_filter(filter_: FilterField = None) -> Filter | None:
    """Parse the `filter` parameter in a thread, so that a large one does not block the event loop."""
    return None if filter_ is None else await to_thread.run_sync(parse_filter, filter_)


FilterDep = Annotated[Filter | None, Depends(get_filter)]


TextField = Annotated[
    str | None,
    Query(
        description="Only images with these words in key, label or metadata, whatever their case and accents. Each "
        'word also matches longer ones. `"…"` is a phrase, `-` excludes a word, `or` separates alternatives.',
        examples=["red boot -leather"],
    ),
]


async def get_words(text: TextField = None) -> TextQuery | None:
    """Parse the `text` parameter."""
    return None if text is None else parse_text(text)


WordsDep = Annotated[TextQuery | None, Depends(get_words)]
SortField = Annotated[
    str | None,
    Query(
        max_length=MAX_SORT,
        description="Order by `added`, `key`, `label` or a metadata field; with a leading `-`, descending. Images "
        "without the field come last. `mixed` is a fixed order that mixes images added at different times.",
        examples=["-price"],
    ),
]


async def get_sort(sort: SortField = None) -> Sort | None:
    """Parse the `sort` parameter."""
    return None if sort is None else parse_sort(sort)


SortDep = Annotated[Sort | None, Depends(get_sort)]


async def get_search_options(
    k: Annotated[int, Query(ge=1, le=MAX_K, description="Maximum number of results.")] = 10,
    mode: Annotated[
        Mode,
        Query(description="`hds`: codes, then exact distances; `bcs`: codes only; `es`: exact distances only."),
    ] = Mode.HDS,
    pool: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_POOL,
            description="Maximum number of candidates. Default: the model's, or unlimited if `radius` is given.",
        ),
    ] = None,
    radius: Annotated[
        int | None, Query(ge=0, le=MAX_BITS, description="Maximum Hamming distance of a candidate.")
    ] = None,
    asymmetric: Annotated[
        bool,
        Query(
            description="Order candidates by asymmetric distance: the sum of the query's |W F7 + b| over the bits that "
            "differ. With `false`, or if codes are not computed from stored F7, they are in order of Hamming distance."
        ),
    ] = True,
    label: Label | None = None,
    min_similarity: Annotated[float | None, Query(ge=0, le=1, description="Minimum similarity, 0 to 1.")] = None,
    group_by: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=512,
            description="Return only the best match of each value of this metadata field, such as `product`. "
            "An image without the field is a group of its own.",
        ),
    ] = None,
    explain: Annotated[bool, Query(description="Explain the rank of each match.")] = False,
    filter_: FilterField = None,
    text: TextField = None,
    sort: SortField = None,
) -> SearchOptions:
    """Return the search options from the query parameters."""
    return SearchOptions(
        k=k,
        mode=mode,
        pool=pool,
        radius=radius,
        asymmetric=asymmetric,
        label=label,
        filter=await get_filter(filter_),
        words=await get_words(text),
        min_similarity=min_similarity,
        group_by=group_by,
        explain=explain,
        sort=await get_sort(sort),
    )


def parse_cursor(cursor: str | None) -> int:
    """Return the id after which a page begins.

    Raises:
        InvalidInputError: the cursor is not valid.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) > MAX_ID:
        raise InvalidInputError("cursor", "is not valid. Use `next_cursor` of the previous page")
    return int(cursor)


def filter_warnings(
    service: Service, label: str | None, filter_: Filter | None, words: TextQuery | None = None
) -> list[str]:
    """Return warnings about a label, fields of a filter, or words that no image has; for empty results."""
    return service.summaries.unknown_filter_warnings(service.database, label, filter_, words)


ServiceDep = Annotated[Service, Depends(get_service)]
MetricsDep = Annotated[Metrics, Depends(get_metrics)]
GaugesDep = Annotated[ProcessGauges, Depends(get_gauges)]
ReservedThreadsDep = Annotated[ReservedThreads, Depends(get_reserved_threads)]
FileThreadsDep = Annotated[CapacityLimiter, Depends(get_file_threads)]
SearchContextDep = Annotated[SearchContext, Depends(get_search_context)]
ChargeDep = Annotated[Charge, Depends(get_charge)]
SearchOptionsDep = Annotated[SearchOptions, Depends(get_search_options)]
