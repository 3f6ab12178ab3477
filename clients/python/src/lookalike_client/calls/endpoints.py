"""The calls of the API, shared by both clients.

A call is a generator (`CallFlow`): it yields requests, receives their responses and returns the result, independent
of how requests are sent.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import TypeAdapter

from lookalike_client.batching import SPLIT_STATUSES, BatchLimit, EncodedImage, key_batches
from lookalike_client.errors import InvalidInputError
from lookalike_client.images import ImageInput, NewImage, read_image
from lookalike_client.problems import unreadable
from lookalike_client.requests import CallFlow, Parameter, Request, Response, parameters_of
from lookalike_client.results import (
    AddResult,
    AddResults,
    BatchItem,
    BatchSearchResult,
    CatalogueImage,
    Facets,
    ImagePage,
    Job,
    JobPage,
    SearchResult,
)
from lookalike_client.statistics import Stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from typing_extensions import Unpack

    from lookalike_client.errors import ProblemError
    from lookalike_client.requests import Filters, ListOptions, SearchOptions

T = TypeVar("T")
_SEARCH, _BATCH, _ADDED = TypeAdapter(SearchResult), TypeAdapter(BatchSearchResult), TypeAdapter(AddResults)
_IMAGE, _PAGE, _FACETS = TypeAdapter(CatalogueImage), TypeAdapter(ImagePage), TypeAdapter(Facets)
_STATS, _JOB, _JOBS = TypeAdapter(Stats), TypeAdapter(Job), TypeAdapter(JobPage)
# Maximum number of queries of `POST /search/batch`.
MAX_QUERIES = 32
NOT_FOUND = 404
OnDuplicate = Literal["add", "skip"]


class Unchanged(Enum):
    """Type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


# The default of parameters for which None means removal.
UNCHANGED: Final = Unchanged.UNCHANGED


def search_many(images: Sequence[ImageInput], **options: Unpack[SearchOptions]) -> CallFlow[list[BatchItem]]:
    """Search with each of several images; an unusable image has an `error`, and does not affect the others."""
    items: list[BatchItem] = []
    for first in range(0, len(images), MAX_QUERIES):
        files = [("images", "image", read_image(image)) for image in images[first : first + MAX_QUERIES]]
        response = yield Request("POST", "/search/batch", parameters_of(options), files)
        items += _checked_items(response, response.parse(_BATCH).items, len(files))
    return items


def similar(image_id: int, **options: Unpack[SearchOptions]) -> CallFlow[SearchResult]:
    """Search with an image of the catalogue; its first match is itself."""
    response = yield Request("GET", f"/images/{image_id}/similar", parameters_of(options))
    return response.parse(_SEARCH)


def add(
    limit: BatchLimit, images: Iterable[NewImage], *, on_duplicate: OnDuplicate = "add"
) -> CallFlow[list[AddResult]]:
    """Add images, or update those whose key exists; return one result per image, in order.

    `on_duplicate="skip"` does not add new keys for bytes that the catalogue has under another key.

    After it returns, the images are stored durably and every later search finds them. Requests that are too large or
    too slow are split. An image that is rejected even alone has the status `rejected`, and does not affect the others.
    """
    results: list[AddResult] = []
    for batch in limit.batches(map(_encoded, images)):
        results += yield from _add(batch, limit, on_duplicate)
    return results


def get(image_id: int) -> CallFlow[CatalogueImage]:
    """Return an image's record."""
    response = yield Request("GET", f"/images/{image_id}")
    return response.parse(_IMAGE)


def page(*, cursor: str | None = None, limit: int = 500, **options: Unpack[ListOptions]) -> CallFlow[ImagePage]:
    """Return a page of images, in the order of their addition or of `sort`; `list` iterates over all pages."""
    response = yield Request("GET", "/images", parameters_of(options) | {"cursor": cursor, "limit": limit})
    return response.parse(_PAGE)


def update(
    image_id: int,
    *,
    label: str | Unchanged | None = UNCHANGED,
    metadata: Mapping[str, Any] | None = None,
) -> CallFlow[CatalogueImage]:
    """Change an image's label and metadata. Omitted fields stay; a label or field set to None is removed."""
    changes: dict[str, Any] = {} if label is UNCHANGED else {"label": label}
    if metadata is not None:
        changes["metadata"] = dict(metadata)
    response = yield Request("PATCH", f"/images/{image_id}", json=changes)
    return response.parse(_IMAGE)


def delete(image_id: int) -> CallFlow[None]:
    """Delete an image."""
    response = yield Request("DELETE", f"/images/{image_id}")
    response.require_deleted()


def find(keys: Iterable[str]) -> CallFlow[list[CatalogueImage]]:
    """Return the records of the images with these keys, in the order of their addition; unknown keys are left out."""
    found: list[CatalogueImage] = []
    for batch in key_batches(keys):
        images = yield from _all_pages(filter={"key": {"$in": batch}})
        found += images
    return sorted(found, key=lambda image: image.id)


def delete_many(image_ids: Iterable[int]) -> CallFlow[int]:
    """Delete images, one request each, and return how many were there; those that are gone already are passed over."""
    deleted = 0
    for image_id in image_ids:
        response = yield Request("DELETE", f"/images/{image_id}")
        if response.status != NOT_FOUND:
            response.require_empty()
        deleted += int(response.status != NOT_FOUND or response.retried)
    return deleted


def delete_matching(**filters: Unpack[Filters]) -> CallFlow[int]:
    """Delete all images that pass the filters, and return their number.

    Images that are added meanwhile may stay. Without a filter nothing is deleted, and `InvalidInputError` is raised.
    """
    if filters.get("label") is None and filters.get("text") is None and not filters.get("filter"):
        raise InvalidInputError("filter", "is missing. Set label, filter or text, so that not every image is deleted.")
    images = yield from _all_pages(**filters)
    return (yield from delete_many(image.id for image in images))


def original(image_id: int) -> CallFlow[bytes]:
    """Return an image's original file."""
    response = yield Request("GET", f"/images/{image_id}/original")
    return response.image()


def thumbnail(image_id: int) -> CallFlow[bytes]:
    """Return an image's thumbnail, a JPEG."""
    response = yield Request("GET", f"/images/{image_id}/thumbnail")
    return response.image()


def seen(image_id: int) -> CallFlow[bytes]:
    """Return the pixels that the model reads of an image, as PNG."""
    response = yield Request("GET", f"/images/{image_id}/seen")
    return response.image()


def facets(**filters: Unpack[Filters]) -> CallFlow[Facets]:
    """Count labels and metadata values of all images, or of those that pass the filters."""
    response = yield Request("GET", "/facets", parameters_of(filters))
    return response.parse(_FACETS)


def stats() -> CallFlow[Stats]:
    """Return the catalogue's statistics."""
    response = yield Request("GET", "/stats")
    return response.parse(_STATS)


def upload_archive(archive: str | PathLike[str] | bytes, *, on_duplicate: OnDuplicate = "add") -> CallFlow[Job]:
    """Upload a zip or tar archive of images, and return the job that adds them in the background.

    An archive that is sent twice because the first response was lost runs as two jobs; the second changes nothing.
    """
    body = archive if isinstance(archive, bytes) else Path(archive)
    response = yield Request("POST", "/jobs", _duplicate_parameter(on_duplicate), files=[("archive", "archive", body)])
    return response.parse(_JOB)


def get_job(job_id: int) -> CallFlow[Job]:
    """Return a job's progress and its rejected entries."""
    response = yield Request("GET", f"/jobs/{job_id}")
    return response.parse(_JOB)


def list_jobs(*, cursor: str | None = None, limit: int = 50) -> CallFlow[JobPage]:
    """Return a page of jobs, the latest first."""
    response = yield Request("GET", "/jobs", {"cursor": cursor, "limit": limit})
    return response.parse(_JOBS)


def cancel_job(job_id: int) -> CallFlow[Job]:
    """Cancel a job that has not ended; images already added stay."""
    response = yield Request("POST", f"/jobs/{job_id}/cancel")
    return response.parse(_JOB)


def _all_pages(**filters: Unpack[Filters]) -> CallFlow[list[CatalogueImage]]:
    found = yield from page(**filters)
    images = list(found.items)
    while found.next_cursor is not None:
        found = yield from page(cursor=found.next_cursor, **filters)
        images += found.items
    return images


def _encoded(new: NewImage) -> EncodedImage:
    return EncodedImage(read_image(new.image), new.key, json.dumps(new.fields()))


def _duplicate_parameter(on_duplicate: OnDuplicate) -> dict[str, Parameter | None]:
    return {"on_duplicate": on_duplicate if on_duplicate != "add" else None}


def _add(images: Sequence[EncodedImage], limit: BatchLimit, on_duplicate: OnDuplicate) -> CallFlow[Sequence[AddResult]]:
    files = [("images", "image", image.data) for image in images]
    fields = f"[{', '.join(image.fields for image in images)}]"
    response = yield Request(
        "POST", "/index", _duplicate_parameter(on_duplicate), files=files, data={"metadata": fields}
    )
    if response.status not in SPLIT_STATUSES:
        return _checked_items(response, response.parse(_ADDED).items, len(images))
    if len(images) == 1:
        return [_rejected(images[0], response.problem())]
    limit.shrink(sum(image.size for image in images))
    results: list[AddResult] = []
    for batch in limit.batches(images):
        results += yield from _add(batch, limit, on_duplicate)
    return results


def _rejected(image: EncodedImage, problem: ProblemError) -> AddResult:
    """Return the result of an image that is too large for a request, with the key that the service would assign."""
    key = image.key or hashlib.sha256(image.data).hexdigest()
    return AddResult(None, key, "rejected", str(problem), problem.code)


def _checked_items(response: Response, items: Sequence[T], sent: int) -> Sequence[T]:
    """Check that a response has one item per image sent."""
    if len(items) != sent:
        raise unreadable(response.status, f"expected {sent} items, received {len(items)}")
    return items
