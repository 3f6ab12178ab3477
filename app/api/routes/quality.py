"""Search quality report: the page written by the last `lookalike report`."""

from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse

from app.api.dependencies import ServiceDep
from app.api.schemas.images import PROBLEM
from app.bootstrap import report_folder
from app.quality.page import PAGE

# The page has inline styles and loads nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}},
    404: {"description": "There is no report yet.", **PROBLEM},
}

router = APIRouter(tags=["system"])


@router.get(
    "/report",
    operation_id="get_report",
    summary="Search quality report",
    responses=RESPONSES,
    response_class=Response,
)
def report(service: ServiceDep) -> HTMLResponse:
    """Return the report that `lookalike report` wrote into the data folder, as HTML."""
    try:
        page = (report_folder(service.settings) / PAGE).read_bytes()
    except FileNotFoundError as error:
        raise HTTPException(404, "There is no report yet. Run `lookalike report` to write one.") from error
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "private, no-cache"})
