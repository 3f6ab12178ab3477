"""The pictures of the catalogue: list, look at, describe, delete."""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, takewhile
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.dependencies import (
    ChargeDep,
    Cursor,
    FileThreadsDep,
    FilterDep,
    ImageId,
    Label,
    ServiceDep,
    after,
    warnings,
)
from app.api.schemas.images import IN_MEMORY, PROBLEM, ImageOut, ImagePage, ImagePatch
from app.bootstrap import Service
from app.catalogue import queries
from app.catalogue.changes import Given
from app.catalogue.database.tables import Picture
from app.catalogue.filters.sql import passes
from app.catalogue.storage.protocol import OpenPicture
from app.common.json_values import Json, check_json
from app.errors import InvalidInputError, NotFoundError, UnavailableError
from app.search.decode.image import THUMBNAIL_MEDIA_TYPE

log = logging.getLogger(__name__)

router = APIRouter(
    tags=["catalogue"],
    responses={
        404: {"description": "There is no such picture.", **PROBLEM},
        422: {"description": "A parameter cannot be used.", **PROBLEM},
        503: {"description": "Not now; see Retry-After.", **PROBLEM},
    },
)

# Bytes of metadata on a page of the catalogue.
PAGE_BYTES = 4_000_000
IfNoneMatch = Annotated[str | None, Header()]
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "It is the one that you have."},
}


class PictureResponse(StreamingResponse):
    """Sends a picture that is open already, so that it arrives whole even if it is deleted meanwhile."""

    def __init__(
        self, picture: OpenPicture, headers: Mapping[str, str], media_type: str, threads: CapacityLimiter
    ) -> None:
        self._picture, self._threads = picture, threads
        length = {"Content-Length": str(picture.size)}
        super().__init__(self._chunks(), headers={**headers, **length}, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, and closes it even if nobody takes it."""
        try:
            await super().__call__(scope, receive, send)
        except UnavailableError as error:
            # The status is out already. Ending here, short of the length that was promised, breaks the connection.
            log.warning("a picture was cut off on its way out: %s", error)
        finally:
            self._picture.close()

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yields the picture, read in threads of its own: a slow bucket delays nothing else."""
        read = partial(next, self._picture.chunks, None)
        while (chunk := await to_thread.run_sync(read, limiter=self._threads)) is not None:
            yield chunk


@router.get("/images", operation_id="list_images", summary="The catalogue, page by page")
def list_images(
    service: ServiceDep,
    charge: ChargeDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Cursor = None,
    label: Label | None = None,
    filter_: FilterDep = None,
) -> ImagePage:
    """Lists pictures in the order in which they were added.

    A page may hold fewer than `limit` where their metadata is large; `next_cursor` tells whether there are more.
    """
    narrowed = label is not None or filter_ is not None
    with service.database.scanning() if narrowed else service.database.asking() as session:
        sizes = queries.page_sizes(session, after=after(cursor), limit=limit + 1, passing=passes(label, filter_))
        ids = within(PAGE_BYTES, sizes[:limit])
        charge.add(IN_MEMORY * sum(size for _, size in sizes[: len(ids)]))
        found = queries.pictures(session, ids)
    return ImagePage(
        items=[ImageOut.of(picture) for picture in found],
        next_cursor=str(ids[-1]) if len(ids) < len(sizes) else None,
        warnings=[] if found else warnings(service, label, filter_),
    )


def within(most: int, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Returns the first ids whose sizes together are not larger than this, but at least one."""
    totals = accumulate(size for _, size in sizes)
    fitting = sum(1 for _ in takewhile(lambda total: total <= most, totals))
    return [image_id for image_id, _ in sizes[: max(fitting, 1)]]


@router.get("/images/{image_id}", operation_id="get_image", summary="One picture")
def get_image(image_id: ImageId, service: ServiceDep) -> ImageOut:
    """Returns what the catalogue knows of a picture."""
    return ImageOut.of(_picture(service, image_id))


@router.patch("/images/{image_id}", operation_id="update_image", summary="Change label or metadata")
def describe_image(image_id: ImageId, patch: ImagePatch, service: ServiceDep) -> ImageOut:
    """Changes what is said of a picture; what is left out stays."""
    given: Given = {}
    if "label" in patch.model_fields_set:
        given["label"] = _storable("label", patch.label)
    if patch.metadata is not None:
        given["metadata"] = _storable("metadata", patch.metadata)
    return ImageOut.of(service.ingest.describe(image_id, given))


@router.delete("/images/{image_id}", operation_id="delete_image", status_code=204, summary="Delete a picture")
def delete_image(image_id: ImageId, service: ServiceDep) -> None:
    """Deletes a picture; no later search finds it."""
    service.ingest.delete(image_id)


@router.get("/images/{image_id}/original", operation_id="get_original", responses=IMAGE, response_class=Response)
def get_original(
    image_id: ImageId, service: ServiceDep, threads: FileThreadsDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Returns the bytes that were added."""
    picture = _picture(service, image_id)
    headers = _headers(picture.sha256)
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    with _present(image_id):
        return PictureResponse(service.files.open(picture.sha256), headers, picture.media_type, threads)


@router.get("/images/{image_id}/thumbnail", operation_id="get_thumbnail", responses=IMAGE, response_class=Response)
def get_thumbnail(image_id: ImageId, service: ServiceDep, if_none_match: IfNoneMatch = None) -> Response:
    """Returns a small picture, upright and without metadata."""
    sha256 = _picture(service, image_id).sha256
    headers = _headers(sha256)
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    with _present(image_id):
        return Response(_thumbnail(service, sha256), headers=headers, media_type=THUMBNAIL_MEDIA_TYPE)


def _picture(service: Service, image_id: int) -> Picture:
    with service.database.asking() as session:
        return queries.picture(session, image_id)


@contextmanager
def _present(image_id: int) -> Iterator[None]:
    """Says that a picture is not there when its original is not: that is lost, or somebody deletes it just now."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("stored original of picture", image_id) from error


def _thumbnail(service: Service, sha256: str) -> bytes:
    """Reads a thumbnail, and makes it again if it is not there."""
    try:
        return service.files.read_thumbnail(sha256)
    except FileNotFoundError:
        made = service.prepare(service.files.read(sha256), thumbnail=True).thumbnail
        with service.cleanup.track([sha256]):
            service.files.store_thumbnails({sha256: made})
            # Its picture may be deleted since it was looked up, and this thumbnail with it.
            service.cleanup.delete_unused(sha256)
        return made


def _headers(sha256: str) -> dict[str, str]:
    # The address stays when a picture is replaced, so browsers ask each time whether theirs is the one.
    return {"ETag": f'"{sha256}"', "Cache-Control": "private, no-cache"}


def _storable(field: str, value: Json) -> Json:
    try:
        return check_json(value)
    except ValueError as error:
        raise InvalidInputError(field, str(error)) from error
