"""Facets of labels and metadata: `GET /facets`."""

from app.api.dependencies import FilterDep, Label, ServiceDep, WordsDep
from app.api.known_parameters import resource_router
from app.api.schemas.facets import FacetsOut
from app.api.schemas.images import PROBLEM
from app.catalogue.filters.facets import Facets

router = resource_router(
    "catalogue",
    responses={
        422: {"description": "A parameter is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)


@router.get(
    "/facets", operation_id="get_facets", summary="Labels and metadata fields to filter by", response_model=FacetsOut
)
def facets(
    service: ServiceDep, label: Label | None = None, filter_: FilterDep = None, words: WordsDep = None
) -> Facets:
    """Count labels and metadata values, of all images or of those with a label or words and matching a filter."""
    return service.facets.get(service.database, label, filter_, words)
