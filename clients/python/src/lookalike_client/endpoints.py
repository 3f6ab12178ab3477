"""What can be asked of the service, each call described once for both clients.

A call is a generator: it yields requests, is sent their replies and returns the result. Whether somebody waits for a
reply or awaits it is not its business.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack

from pydantic import TypeAdapter

from lookalike_client.batching import TOO_MUCH, Parcel, Portion
from lookalike_client.images import NewPicture, PictureLike, data_of
from lookalike_client.problems import unreadable
from lookalike_client.requests import Parameter, Reply, Request, Steps
from lookalike_client.results import (
    Added,
    Answer,
    BatchItem,
    Facets,
    Indexed,
    Job,
    Jobs,
    Page,
    Picture,
    Searched,
    Stats,
)

T = TypeVar("T")
ANSWER, SEARCHED, INDEXED = TypeAdapter(Answer), TypeAdapter(Searched), TypeAdapter(Indexed)
PICTURE, PAGE, FACETS, STATS = TypeAdapter(Picture), TypeAdapter(Page), TypeAdapter(Facets), TypeAdapter(Stats)
JOB, JOBS = TypeAdapter(Job), TypeAdapter(Jobs)
# What one request of many holds at most.
QUERIES = 32
GONE = 404


class Unchanged(Enum):
    """Says that something stays as it is, where None says that it goes."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


class Filters(TypedDict, total=False):
    """Which pictures are meant; a filter is in MongoDB's words, `{"price": {"$lte": 50}}`."""

    label: str | None
    filter: Mapping[str, Any] | None


class SearchOptions(Filters, total=False):
    """What a search may be told; see `GET /docs` for what each means."""

    k: int
    mode: Literal["hds", "bcs", "es"]
    pool: int | None
    radius: int | None
    min_similarity: float | None
    group: str | None
    explain: bool


def search(
    picture: PictureLike, *, crop: tuple[int, int, int, int] | None = None, **options: Unpack[SearchOptions]
) -> Steps[Answer]:
    """Finds what looks like a picture, or like a crop of it: x, y, width and height in pixels."""
    params = _parameters(options) | {"crop": ",".join(map(str, crop)) if crop else None}
    reply = yield Request("POST", "/search", params, [("image", "picture", data_of(picture))])
    return reply.read(ANSWER)


def search_many(pictures: Sequence[PictureLike], **options: Unpack[SearchOptions]) -> Steps[list[BatchItem]]:
    """Searches with each of several pictures; one that cannot be used costs the others nothing."""
    found: list[BatchItem] = []
    for first in range(0, len(pictures), QUERIES):
        files = [("images", "picture", data_of(picture)) for picture in pictures[first : first + QUERIES]]
        reply = yield Request("POST", "/search/batch", _parameters(options), files)
        found += _of_each(reply, reply.read(SEARCHED).items, len(files))
    return found


def similar(picture_id: int, **options: Unpack[SearchOptions]) -> Steps[Answer]:
    """Finds what looks like a picture of the catalogue, which comes first itself."""
    reply = yield Request("GET", f"/images/{picture_id}/similar", _parameters(options))
    return reply.read(ANSWER)


def add(portion: Portion, pictures: Iterable[NewPicture]) -> Steps[list[Added]]:
    """Adds pictures, or updates those whose key is there; says of each, in order, what became of it.

    When it returns, they are stored for good and every later search finds them. What is too much for one request, or
    too slow, goes in smaller ones; a picture that is refused even alone is rejected, and costs the others nothing.
    """
    added: list[Added] = []
    for some in portion.gather(map(_parcel, pictures)):
        added += yield from _add(some, portion)
    return added


def get(picture_id: int) -> Steps[Picture]:
    """Returns what the catalogue knows of a picture."""
    reply = yield Request("GET", f"/images/{picture_id}")
    return reply.read(PICTURE)


def page(*, cursor: str | None = None, limit: int = 500, **filters: Unpack[Filters]) -> Steps[Page]:
    """Lists some pictures, in the order in which they were added; `list` goes through all pages."""
    reply = yield Request("GET", "/images", _parameters(filters) | {"cursor": cursor, "limit": limit})
    return reply.read(PAGE)


def describe(
    picture_id: int,
    *,
    label: str | Unchanged | None = UNCHANGED,
    metadata: Mapping[str, Any] | None = None,
) -> Steps[Picture]:
    """Changes what is said of a picture: what is not given stays, a label or a field that is given as None goes."""
    changes: dict[str, Any] = {} if label is UNCHANGED else {"label": label}
    if metadata is not None:
        changes["metadata"] = dict(metadata)
    reply = yield Request("PATCH", f"/images/{picture_id}", json=changes)
    return reply.read(PICTURE)


def delete(picture_id: int) -> Steps[None]:
    """Deletes a picture; no later search finds it."""
    reply = yield Request("DELETE", f"/images/{picture_id}")
    # Where the answer to the first try was lost, the second finds nothing left to delete.
    if not (reply.repeated and reply.status == GONE):
        reply.nothing()


def original(picture_id: int) -> Steps[bytes]:
    """Returns the bytes that were added."""
    reply = yield Request("GET", f"/images/{picture_id}/original")
    return reply.picture()


def thumbnail(picture_id: int) -> Steps[bytes]:
    """Returns a small picture, a JPEG."""
    reply = yield Request("GET", f"/images/{picture_id}/thumbnail")
    return reply.picture()


def facets(**filters: Unpack[Filters]) -> Steps[Facets]:
    """Counts labels and metadata, of all pictures or of those that pass."""
    reply = yield Request("GET", "/facets", _parameters(filters))
    return reply.read(FACETS)


def stats() -> Steps[Stats]:
    """Returns the catalogue in numbers."""
    reply = yield Request("GET", "/stats")
    return reply.read(STATS)


def send_archive(archive: str | PathLike[str] | bytes) -> Steps[Job]:
    """Sends a zip or tar archive of pictures, which go into the catalogue in the background; returns at once.

    Sent twice, because the first answer was lost, it is worked through twice, and the second time changes nothing.
    """
    body = archive if isinstance(archive, bytes) else Path(archive)
    reply = yield Request("POST", "/jobs", files=[("archive", "archive", body)])
    return reply.read(JOB)


def get_job(job_id: int) -> Steps[Job]:
    """Returns how far a job is, and what of it could not be used."""
    reply = yield Request("GET", f"/jobs/{job_id}")
    return reply.read(JOB)


def list_jobs(*, cursor: str | None = None, limit: int = 50) -> Steps[Jobs]:
    """Lists some jobs, the latest first."""
    reply = yield Request("GET", "/jobs", {"cursor": cursor, "limit": limit})
    return reply.read(JOBS)


def cancel_job(job_id: int) -> Steps[Job]:
    """Stops a job, if it has not ended; what came in stays."""
    reply = yield Request("POST", f"/jobs/{job_id}/cancel")
    return reply.read(JOB)


def _parameters(options: Mapping[str, Any]) -> dict[str, Parameter | None]:
    """Returns options as query parameters; a filter travels as JSON."""
    wanted = options.get("filter")
    return {**options, "filter": json.dumps(wanted) if wanted is not None else None}


def _parcel(picture: NewPicture) -> Parcel:
    return Parcel(data_of(picture.picture), picture.key, json.dumps(picture.described()))


def _add(parcels: Sequence[Parcel], portion: Portion) -> Steps[Sequence[Added]]:
    files = [("images", "picture", parcel.data) for parcel in parcels]
    about = f"[{', '.join(parcel.about for parcel in parcels)}]"
    reply = yield Request("POST", "/index", files=files, data={"metadata": about})
    if reply.status not in TOO_MUCH:
        return _of_each(reply, reply.read(INDEXED).items, len(parcels))
    if len(parcels) == 1:
        return [_rejected(parcels[0], str(reply.refusal()))]
    portion.refused(sum(parcel.size for parcel in parcels))
    added: list[Added] = []
    for fewer in portion.gather(parcels):
        added += yield from _add(fewer, portion)
    return added


def _rejected(parcel: Parcel, reason: str) -> Added:
    """Says what became of a picture that no request can carry, as the service would."""
    return Added(None, parcel.key or hashlib.sha256(parcel.data).hexdigest(), "rejected", reason)


def _of_each(reply: Reply, items: Sequence[T], sent: int) -> Sequence[T]:
    """Makes sure that an answer speaks of each picture that was sent."""
    if len(items) != sent:
        raise unreadable(reply.status, f"it speaks of {len(items)} pictures instead of {sent}")
    return items
