"""The pictures of the catalogue: list, look at, describe, delete."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.dependencies import Cursor, FilterDep, Label, PictureId, ServiceDep, after, notes
from app.api.schemas import PROBLEM, PictureOut, PicturePage, PicturePatch
from app.catalogue import queries
from app.catalogue.changes import Given
from app.catalogue.conditions import passes
from app.catalogue.tables import Picture
from app.errors import InvalidInputError, NotFoundError
from app.lifespan import Service
from app.search.decode import THUMBNAIL_MEDIA_TYPE
from app.storable import Json, check_json

router = APIRouter(
    tags=["catalogue"],
    responses={
        404: {"description": "There is no such picture.", **PROBLEM},
        422: {"description": "A parameter cannot be used.", **PROBLEM},
        503: {"description": "Not now; see Retry-After.", **PROBLEM},
    },
)

CHUNK_BYTES = 65_536

IfNoneMatch = Annotated[str | None, Header()]
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "It is the one that you have."},
}


class OpenFileResponse(StreamingResponse):
    """Sends a file that is open already, so that it arrives whole even if it is deleted meanwhile."""

    def __init__(self, file: BinaryIO, headers: Mapping[str, str], media_type: str) -> None:
        self._file = file
        length = {"Content-Length": str(os.fstat(file.fileno()).st_size)}
        super().__init__(
            iter(partial(file.read, CHUNK_BYTES), b""), headers={**headers, **length}, media_type=media_type
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, and closes it even if nobody takes it."""
        with self._file:
            await super().__call__(scope, receive, send)


@router.get("/images", operation_id="list_images", summary="The catalogue, page by page")
def list_images(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Cursor = None,
    label: Label | None = None,
    filter_: FilterDep = None,
) -> PicturePage:
    """Lists pictures in the order in which they were added."""
    with service.database.asking() as session:
        found = queries.page(session, after=after(cursor), limit=limit + 1, passing=passes(label, filter_))
    more = str(found[limit - 1].id) if len(found) > limit else None
    return PicturePage(
        items=[PictureOut.of(picture) for picture in found[:limit]],
        next_cursor=more,
        notes=[] if found else notes(service, label, filter_),
    )


@router.get("/images/{picture_id}", operation_id="get_image", summary="One picture")
def get_image(picture_id: PictureId, service: ServiceDep) -> PictureOut:
    """Returns what the catalogue knows of a picture."""
    return PictureOut.of(_picture(service, picture_id))


@router.patch("/images/{picture_id}", operation_id="describe_image", summary="Change label or metadata")
def describe_image(picture_id: PictureId, patch: PicturePatch, service: ServiceDep) -> PictureOut:
    """Changes what is said of a picture; what is left out stays."""
    given: Given = {}
    if "label" in patch.model_fields_set:
        given["label"] = _storable("label", patch.label)
    if patch.metadata is not None:
        given["fields"] = _storable("metadata", patch.metadata)
    return PictureOut.of(service.ingest.describe(picture_id, given))


@router.delete("/images/{picture_id}", operation_id="delete_image", status_code=204, summary="Delete a picture")
def delete_image(picture_id: PictureId, service: ServiceDep) -> None:
    """Deletes a picture; no later search finds it."""
    service.ingest.delete(picture_id)


@router.get("/images/{picture_id}/original", operation_id="get_original", responses=IMAGE, response_class=Response)
def get_original(picture_id: PictureId, service: ServiceDep, if_none_match: IfNoneMatch = None) -> Response:
    """Returns the bytes that were added."""
    picture = _picture(service, picture_id)
    with _present(picture_id):
        return _file(service.files.original(picture.sha256), picture.media_type, picture.sha256, if_none_match)


@router.get("/images/{picture_id}/thumbnail", operation_id="get_thumbnail", responses=IMAGE, response_class=Response)
def get_thumbnail(picture_id: PictureId, service: ServiceDep, if_none_match: IfNoneMatch = None) -> Response:
    """Returns a small picture, upright and without metadata."""
    sha256 = _picture(service, picture_id).sha256
    path = service.files.thumbnail(sha256)
    with _present(picture_id):
        if not path.exists():
            original = service.files.original(sha256).read_bytes()
            service.files.store_thumbnail(sha256, service.prepare(original, thumbnail=True).thumbnail)
        return _file(path, THUMBNAIL_MEDIA_TYPE, sha256, if_none_match)


def _picture(service: Service, picture_id: int) -> Picture:
    with service.database.asking() as session:
        return queries.picture(session, picture_id)


@contextmanager
def _present(picture_id: int) -> Iterator[None]:
    """Says that a picture is not there when its file is not: it is damaged, or somebody deletes it just now."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("original on disk of picture", picture_id) from error


def _file(path: FilePath, media_type: str, sha256: str, if_none_match: str | None) -> Response:
    # The address stays when a picture is replaced, so browsers ask each time whether theirs is the one.
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, no-cache"}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return OpenFileResponse(path.open("rb"), media_type=media_type, headers=headers)


def _storable(field: str, value: Json) -> Json:
    try:
        return check_json(value)
    except ValueError as error:
        raise InvalidInputError(field, str(error)) from error
