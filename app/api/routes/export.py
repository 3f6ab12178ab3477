"""Export of the catalogue's keys, labels and metadata."""

import logging
import re
from collections.abc import AsyncIterator, Generator
from typing import Annotated, Any

from anyio import CancelScope, to_thread
from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.dependencies import FilterDep, Label, ServiceDep, WordsDep
from app.api.known_parameters import resource_router
from app.api.schemas.images import PROBLEM
from app.catalogue.selection import Selection
from app.common.json_values import MAX_ID
from app.errors import InvalidInputError, UnavailableError
from app.maintenance.export import ExportFormat, export

log = logging.getLogger(__name__)

router = resource_router("catalogue")

_MEDIA_TYPES = {ExportFormat.JSONL: "application/x-ndjson", ExportFormat.CSV: "text/csv; charset=utf-8"}
_MAX_IDS_TEXT, _IDS = 16_384, re.compile(r"[0-9]{1,19}(,[0-9]{1,19})*")
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The table.",
        "content": {name: {"schema": {"type": "string"}} for name in _MEDIA_TYPES.values()},
    },
    422: {"description": "A parameter is not valid, or a field cannot be a column.", **PROBLEM},
    503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
}


class ExportResponse(StreamingResponse):
    """Streaming response of an export, whose snapshot ends with the response, however that ends.

    Args:
        parts: the text, as `export` yields it; its first part is computed here, so that errors have a status.
        format_: its format.
    """

    def __init__(self, parts: Generator[str], format_: ExportFormat) -> None:
        self._parts, self._first = parts, next(parts)
        name = {"Content-Disposition": f'attachment; filename="images.{format_.value}"'}
        super().__init__(self._chunks(), headers=name, media_type=_MEDIA_TYPES[format_])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the export, and end its snapshot even if the client disconnects."""
        try:
            await super().__call__(scope, receive, send)
        except UnavailableError as error:
            # The status is sent already. Ending before the last chunk closes the connection.
            log.warning("export aborted: %s", error)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._parts.close)

    async def _chunks(self) -> AsyncIterator[str]:
        yield self._first
        while (part := await to_thread.run_sync(next, self._parts, None)) is not None:
            yield part


@router.get(
    "/images/export",
    operation_id="export_images",
    summary="Export a table",
    responses=_RESPONSES,
    response_class=Response,
)
def export_images(
    service: ServiceDep,
    format_: Annotated[
        ExportFormat,
        Query(alias="format", description="`jsonl` keeps every value as it is; `csv` is for spreadsheets."),
    ] = ExportFormat.JSONL,
    label: Label | None = None,
    filter_: FilterDep = None,
    words: WordsDep = None,
    ids: Annotated[
        str | None,
        Query(max_length=_MAX_IDS_TEXT, description="Only these ids, separated by commas.", examples=["17,18"]),
    ] = None,
) -> Response:
    """Stream key, label and metadata of all images, or of some, from one snapshot.

    `lookalike index EXPORT FOLDER` reads the file again.
    """
    selection = Selection(None if ids is None else _parse_ids(ids), None, label, filter_, words)
    return ExportResponse(export(service.database, selection, format_), format_)


def _parse_ids(text: str) -> list[int]:
    if _IDS.fullmatch(text) is None or max(ids := [int(number) for number in text.split(",")]) > MAX_ID:
        raise InvalidInputError("ids", "are not numbers separated by commas, such as `17,18`")
    return ids
