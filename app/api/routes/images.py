"""Images of the catalogue: list, read, update, delete."""

import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, takewhile
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session
from starlette.types import Receive, Scope, Send

from app.api.conditional import IfNoneMatch, is_not_modified
from app.api.cursors import ListCursor, decode_cursor, encode_cursor
from app.api.dependencies import (
    ChargeDep,
    FileThreadsDep,
    FilterDep,
    ImageId,
    Label,
    ServiceDep,
    SortDep,
    WordsDep,
    filter_warnings,
)
from app.api.known_parameters import resource_router
from app.api.paths import RootPathDep
from app.api.schemas.images import JSON_MEMORY_FACTOR, PROBLEM, ImageOut, ImagePage, ImagePatch
from app.bootstrap import Service
from app.catalogue import queries, sorting
from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import filter_condition
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.storage.protocol import OriginalStream
from app.common.json_values import Json, validate_json
from app.errors import InvalidInputError, NotFoundError, UnavailableError
from app.maintenance.thumbnails import read_thumbnail
from app.search.decode.image import THUMBNAIL_MEDIA_TYPE, THUMBNAIL_SIDE, encode_png
from app.search.sorting import ADDED

log = logging.getLogger(__name__)

router = resource_router(
    "catalogue",
    responses={
        404: {"description": "There is no such image.", **PROBLEM},
        422: {"description": "A parameter is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)

# Maximum bytes of metadata on a page of the catalogue.
PAGE_BYTES = 4_000_000
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "Not modified: the image of your `If-None-Match` header is current."},
}


class ImageResponse(StreamingResponse):
    """Streaming response of an image file that is already open, so that a deletion meanwhile does not cut it off."""

    def __init__(
        self, image: OriginalStream, headers: Mapping[str, str], media_type: str, threads: CapacityLimiter
    ) -> None:
        self._image, self._threads = image, threads
        length = {"Content-Length": str(image.size)}
        super().__init__(self._chunks(), headers={**headers, **length}, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the image, and close it even if the client disconnects."""
        try:
            await super().__call__(scope, receive, send)
        except UnavailableError as error:
            # The status is sent already. Ending before Content-Length is reached closes the connection.
            log.warning("image download aborted: %s", error)
        finally:
            self._image.close()

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yield the image, read in separate threads, so that a slow bucket delays nothing else."""
        read = partial(next, self._image.chunks, None)
        while (chunk := await to_thread.run_sync(read, limiter=self._threads)) is not None:
            yield chunk


@router.get("/images", operation_id="list_images", summary="List images")
def list_images(
    service: ServiceDep,
    charge: ChargeDep,
    root_path: RootPathDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: ListCursor = None,
    label: Label | None = None,
    filter_: FilterDep = None,
    words: WordsDep = None,
    sort: SortDep = None,
) -> ImagePage:
    """List images, in the order of their addition or of a field.

    A page may have fewer than `limit` images if their metadata is large; the last page has a null `next_cursor`.
    """
    order, passing = sort or ADDED, filter_condition(label, filter_, words)
    after, database = decode_cursor(order, cursor), service.database
    reads_all = order.field not in sorting.INDEXED or (label, filter_, words) != (None, None, None)
    with database.scan_session() if reads_all else database.read_session() as session:
        listed = sorting.list_page(session, order, after=after, limit=limit + 1, passing=passing)
        shown = listed[: min(limit, fit_bytes(PAGE_BYTES, (image.size for image in listed)))]
        charge.add(JSON_MEMORY_FACTOR * sum(image.size for image in shown))
        found = queries.images_by_id(session, [image.id for image in shown])
    more = len(shown) < len(listed)
    total = None
    if after is None:
        total = service.summaries.count(database, label, filter_, words) if more else len(found)
    return ImagePage(
        items=[ImageOut.of(image, root_path) for image in found],
        next_cursor=encode_cursor(order, shown[-1].position) if more else None,
        total=total,
        warnings=[] if found else filter_warnings(service, label, filter_, words),
    )


def fit_bytes(limit: int, sizes: Iterable[int]) -> int:
    """Return how many of the first images have metadata of at most `limit` bytes together, but at least one."""
    return max(1, sum(1 for _ in takewhile(lambda total: total <= limit, accumulate(sizes))))


@router.get("/images/{image_id}", operation_id="get_image", summary="Get an image")
def get_image(image_id: ImageId, service: ServiceDep, root_path: RootPathDep) -> ImageOut:
    """Return the catalogue's record of an image."""
    return ImageOut.of(_find_image(service, image_id), root_path)


@router.patch("/images/{image_id}", operation_id="update_image", summary="Change label or metadata")
def update_image(image_id: ImageId, patch: ImagePatch, service: ServiceDep, root_path: RootPathDep) -> ImageOut:
    """Change an image's label or metadata; omitted fields stay as they are."""
    changes: MetadataPatch = {}
    if "label" in patch.model_fields_set:
        changes["label"] = check_json("label", patch.label)
    if patch.metadata is not None:
        changes["metadata"] = check_json("metadata", patch.metadata)
    return ImageOut.of(service.ingest.update_metadata(image_id, changes), root_path)


@router.delete("/images/{image_id}", operation_id="delete_image", status_code=204, summary="Delete an image")
def delete_image(image_id: ImageId, service: ServiceDep) -> None:
    """Delete an image; no later search finds it, and `POST /trash/restore` undoes it for some time."""
    service.ingest.delete(image_id)


@router.get(
    "/images/{image_id}/original",
    operation_id="get_original",
    summary="Download an image",
    responses=IMAGE,
    response_class=Response,
)
def get_original(
    image_id: ImageId, service: ServiceDep, threads: FileThreadsDep, if_none_match: IfNoneMatch
) -> Response:
    """Return the original file, byte for byte."""
    image = _find_image(service, image_id)
    headers = _headers(image.sha256)
    if is_not_modified(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    with _missing_file_as_404(image_id):
        return ImageResponse(service.storage.open(image.sha256), headers, image.media_type, threads)


@router.get(
    "/images/{image_id}/thumbnail",
    operation_id="get_thumbnail",
    summary="Download a thumbnail",
    responses=IMAGE,
    response_class=Response,
)
def get_thumbnail(image_id: ImageId, service: ServiceDep, if_none_match: IfNoneMatch) -> Response:
    """Return a thumbnail, upright and without metadata: a JPEG of at most 512 pixels a side."""
    with service.database.read_session() as session:
        image = queries.get_image(session, image_id)
        tag = thumbnail_tag(session, image_id, image.sha256)
    return thumbnail_response(service, image_id, image.sha256, tag, if_none_match)


def thumbnail_tag(session: Session, image_id: int, sha256: str) -> str:
    """Return the entity tag of an image's thumbnail, which changes when the thumbnail is renewed."""
    return sha256 if image_id <= queries.old_thumbnails_to(session) else f"{sha256}-{THUMBNAIL_SIDE}"


def thumbnail_response(service: Service, image_id: int, sha256: str, tag: str, if_none_match: list[str]) -> Response:
    """Return the thumbnail of an original, or 304 if the client has it.

    Raises:
        NotFoundError: the original is lost, or is being deleted.
    """
    headers = _headers(tag)
    if is_not_modified(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    with _missing_file_as_404(image_id):
        return Response(read_thumbnail(service, sha256), headers=headers, media_type=THUMBNAIL_MEDIA_TYPE)


@router.get(
    "/images/{image_id}/seen",
    operation_id="get_seen",
    summary="Download what the model reads",
    responses=IMAGE,
    response_class=Response,
)
def get_seen(image_id: ImageId, service: ServiceDep, if_none_match: IfNoneMatch) -> Response:
    """Return the pixels that the model is shown of an image, as PNG: resized, cut and in sRGB, as it reads them.

    A model that reads several views has them one below the other.
    """
    sha256 = _find_image(service, image_id).sha256
    headers = _headers(f"{sha256}-{service.model_info.fingerprint}")
    if is_not_modified(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    with _missing_file_as_404(image_id):
        prepared = service.prepare(service.storage.read(sha256))
    return Response(encode_png(prepared.image), headers=headers, media_type="image/png")


def _find_image(service: Service, image_id: int) -> Image:
    with service.database.read_session() as session:
        return queries.get_image(session, image_id)


@contextmanager
def _missing_file_as_404(image_id: int) -> Iterator[None]:
    """Turn a missing file into a 404: the original is lost, or the image is being deleted."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("stored original of image", image_id) from error


def _headers(tag: str) -> dict[str, str]:
    # The URL stays the same when an image is replaced, so browsers must revalidate.
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}


def check_json(field: str, value: Json) -> Json:
    """Return a JSON value that the catalogue can store.

    Raises:
        InvalidInputError: it cannot.
    """
    try:
        return validate_json(value)
    except ValueError as error:
        raise InvalidInputError(field, str(error)) from error
