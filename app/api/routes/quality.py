"""Search quality report: what the last `lookalike report` wrote, as a page and as figures."""

import json
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException, Response
from fastapi.responses import HTMLResponse

from app.api.dependencies import ServiceDep
from app.api.known_parameters import resource_router
from app.api.schemas.images import PROBLEM
from app.api.schemas.quality import LabelConfusionOut, LabelQualityOut, LabelSuspectOut, ReportSummaryOut
from app.bootstrap import Service, report_folder
from app.quality.page import NUMBERS, PAGE

# The page has inline styles and loads nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "There is no report yet.", **PROBLEM}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}},
    **MISSING,
}

router = resource_router("system")


@router.get(
    "/report",
    operation_id="get_report",
    summary="Search quality report",
    responses=RESPONSES,
    response_class=Response,
)
def report(service: ServiceDep) -> HTMLResponse:
    """Return the report that `lookalike report` wrote into the data folder, as HTML."""
    page = _read(service, PAGE)
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "private, no-cache"})


@router.get(
    "/report/summary", operation_id="get_report_summary", summary="Search quality in figures", responses=MISSING
)
def report_summary(service: ServiceDep) -> ReportSummaryOut:
    """Return the report's figures, and its labels with the lowest precision first, each with example searches."""
    found = json.loads(_read(service, NUMBERS))
    return ReportSummaryOut(
        written_at=datetime.fromtimestamp((report_folder(service.settings) / NUMBERS).stat().st_mtime, UTC),
        images=found["catalogue"]["pictures"],
        queries=found["queries"],
        k=found["k"],
        pool=found["pool"],
        recall=found["lost"]["found"],
        precision=found["precision"] and found["precision"]["both"],
        recommended_pool=found["advice"]["pool"],
        advice=found["advice"]["why"],
        labels=[LabelQualityOut.of(row) for row in found["labels"]],
        # Reports of earlier versions have neither.
        suspects=[LabelSuspectOut(**row) for row in found.get("suspects", [])],
        confused=[LabelConfusionOut(**row) for row in found.get("confused", [])],
    )


def _read(service: Service, name: str) -> bytes:
    try:
        return (report_folder(service.settings) / name).read_bytes()
    except FileNotFoundError as error:
        raise HTTPException(404, "There is no report yet. Run `lookalike report` to write one.") from error
