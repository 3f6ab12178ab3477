"""What can be filtered by: `GET /facets`."""

from fastapi import APIRouter

from app.api.dependencies import FilterDep, Label, ServiceDep
from app.api.schemas.images import PROBLEM, FacetsOut
from app.catalogue.filters.facets import Facets

router = APIRouter(
    tags=["catalogue"],
    responses={
        422: {"description": "A parameter cannot be used.", **PROBLEM},
        503: {"description": "Not now; see Retry-After.", **PROBLEM},
    },
)


@router.get("/facets", operation_id="get_facets", summary="What can be filtered by", response_model=FacetsOut)
def facets(service: ServiceDep, label: Label | None = None, filter_: FilterDep = None) -> Facets:
    """Counts the labels and metadata of the pictures, or of those that have a label and pass a filter."""
    return service.facets.of(service.database, label, filter_)
