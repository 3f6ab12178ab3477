"""What endpoints ask for, as annotated types."""

from concurrent.futures import Executor
from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request

from app.lifespan import Service
from app.search.types import Mode, SearchOptions

MAX_K = 1000
MAX_POOL = 1_000_000
MAX_BITS = 4096
MAX_ID = 2**63 - 1
PictureId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[1])]
Label = Annotated[str, Query(max_length=512, pattern=r"^[^\x00]*$", description="Only pictures with this label.")]


async def get_service(request: Request) -> Service:
    """Returns the service that the application's lifespan opened."""
    return cast("Service", request.state.service)


async def get_threads(request: Request) -> Executor:
    """Returns the threads in which searches run."""
    return cast("Executor", request.state.threads)


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
) -> SearchOptions:
    """Reads what a search asks for from the query parameters."""
    return SearchOptions(k=k, mode=mode, pool=pool, radius=radius, label=label)


ServiceDep = Annotated[Service, Depends(get_service)]
ThreadsDep = Annotated[Executor, Depends(get_threads)]
SearchOptionsDep = Annotated[SearchOptions, Depends(get_search_options)]
