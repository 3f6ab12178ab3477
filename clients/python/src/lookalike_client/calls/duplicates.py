"""Calls of the API that find duplicates, and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter

from lookalike_client.requests import CallFlow, Request
from lookalike_client.results import CatalogueImage, Match, Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lookalike_client.requests import Parameter

DuplicateKind = Literal["exact", "near"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are duplicates of each other, directly or through others of the group.

    Attributes:
        image: the oldest one.
        duplicates: the others, the nearest to it first.
        complete: False if the group has more images than the 1,000 listed.
    """

    image: Match
    duplicates: tuple[Match, ...]
    complete: bool = True


@dataclass(frozen=True)
class DuplicatePage:
    """One page of duplicate groups; `next_cursor` is the cursor of the next page, and None on the last one.

    Attributes:
        kind: `exact` or `near`.
        max_distance: maximum L2 distance on F7 between the images of a pair.
    """

    groups: tuple[DuplicateGroup, ...]
    kind: str
    max_distance: float
    next_cursor: str | None


@dataclass(frozen=True)
class AddedFields:
    """Label and metadata that an image took over from others; None and empty if it took over none."""

    label: str | None
    metadata: Metadata


@dataclass(frozen=True)
class MergeResult:
    """The result of merging duplicates.

    Attributes:
        image: the image that was kept.
        added: what it took over from the others.
        deleted: the number of the others.
        deletion_id: for `restore_images`, which restores them for some time; None if they are deleted for good.
    """

    image: CatalogueImage
    added: AddedFields
    deleted: int
    deletion_id: int | None


@dataclass(frozen=True)
class _Pairs:
    pairs: int


_PAIRS, _MERGED = TypeAdapter(_Pairs), TypeAdapter(MergeResult)
_PAGE, _MATCHES = TypeAdapter(DuplicatePage), TypeAdapter(tuple[Match, ...])


def duplicates(
    image_id: int, *, kind: DuplicateKind = "exact", max_distance: float | None = None
) -> CallFlow[tuple[Match, ...]]:
    """Return the duplicates of an image, nearest first: copies of its picture, or with `near` similar pictures."""
    params: dict[str, Parameter | None] = {"kind": kind, "max_distance": max_distance}
    response = yield Request("GET", f"/images/{image_id}/duplicates", params)
    return response.parse(_MATCHES)


def duplicate_page(
    *,
    kind: DuplicateKind = "exact",
    cursor: str | None = None,
    limit: int = 200,
    max_distance: float | None = None,
) -> CallFlow[DuplicatePage]:
    """Check a page of `limit` images, and return the groups of duplicates whose oldest image is one of them."""
    params: dict[str, Parameter | None] = {"kind": kind, "max_distance": max_distance, "cursor": cursor, "limit": limit}
    response = yield Request("GET", "/duplicates", params)
    return response.parse(_PAGE)


def mark_distinct(image_ids: Iterable[int]) -> CallFlow[int]:
    """Remember that no two of up to 200 images are duplicates; return the number of pairs that is new.

    Lists of duplicates leave these pairs out.
    """
    response = yield Request("POST", "/duplicates/distinct", json={"ids": list(image_ids)})
    return response.parse(_PAIRS).pairs


def unmark_distinct(image_ids: Iterable[int]) -> CallFlow[int]:
    """Undo `mark_distinct` of these images; return the number of pairs."""
    response = yield Request("DELETE", "/duplicates/distinct", json={"ids": list(image_ids)})
    return response.parse(_PAIRS).pairs


def merge_duplicates(keep: int, others: Iterable[int]) -> CallFlow[MergeResult]:
    """Keep one image, give it the label and fields that only the others have, and delete the others."""
    response = yield Request("POST", "/duplicates/merge", json={"keep": keep, "merge": list(others)})
    return response.parse(_MERGED)
