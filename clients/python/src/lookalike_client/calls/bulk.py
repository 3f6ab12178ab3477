"""Calls of the API that change many images at once, restore deleted ones and export the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import TypeAdapter

from lookalike_client.calls.endpoints import UNCHANGED, Unchanged
from lookalike_client.requests import CallFlow, Filters, Request, parameters_of
from lookalike_client.results import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Unpack

    from lookalike_client.requests import Parameter


class ImageSelection(TypedDict, total=False):
    """Images to change: `ids`, or `keys`, or those that match `label`, `filter` and `text`; `filter={}` selects all."""

    ids: Iterable[int] | None
    keys: Iterable[str] | None
    label: str | None
    filter: Mapping[str, Any] | None
    text: str | None


class ExportOptions(Filters, total=False):
    """Filters, and the format of an export; `jsonl` without."""

    format: Literal["jsonl", "csv"]


@dataclass(frozen=True)
class Deletion:
    """The result of deleting many images; `deletion_id` restores them, and is None if they are not kept."""

    deleted: int
    deletion_id: int | None


@dataclass(frozen=True)
class Restored:
    """The number of images restored, and of those skipped because their keys are in use again."""

    restored: int
    skipped: int


@dataclass(frozen=True)
class TrashedImage:
    """A deleted image that can be restored until `expires_at`.

    Attributes:
        deletion_id: the same for all images that were deleted together.
    """

    id: int
    key: str
    label: str | None
    metadata: Metadata
    media_type: str
    width: int
    height: int
    size_bytes: int
    created_at: datetime
    deletion_id: int
    deleted_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class TrashPage:
    """One page of deleted images; `next_cursor` is the cursor of the next page, and None on the last one."""

    items: tuple[TrashedImage, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class _Changed:
    changed: int


@dataclass(frozen=True)
class _Purged:
    purged: int


_CHANGED, _DELETION, _RESTORED = TypeAdapter(_Changed), TypeAdapter(Deletion), TypeAdapter(Restored)
_TRASH, _PURGED = TypeAdapter(TrashPage), TypeAdapter(_Purged)


def update_images(
    expected: int,
    *,
    set_label: str | Unchanged | None = UNCHANGED,
    metadata: Mapping[str, Any] | None = None,
    **selection: Unpack[ImageSelection],
) -> CallFlow[int]:
    """Change label and metadata of many images, all or none; return how many were not so already.

    A label or field set to None is removed. Raises `ProblemError` with the code `selection_changed` if the selection
    does not have the `expected` number of images, or an id or a key does not exist.
    """
    changes: dict[str, Any] = {} if set_label is UNCHANGED else {"set_label": set_label}
    if metadata is not None:
        changes["metadata"] = dict(metadata)
    response = yield Request("POST", "/images/update", json={**_selection(selection, expected), **changes})
    return response.parse(_CHANGED).changed


def delete_images(expected: int, **selection: Unpack[ImageSelection]) -> CallFlow[Deletion]:
    """Delete many images, all or none; `restore_images` with the result's `deletion_id` undoes it for some time.

    Raises `ProblemError` with the code `selection_changed` if the selection does not have the `expected` number of
    images, or an id or a key does not exist: also if the response to an earlier attempt was lost.
    """
    response = yield Request("POST", "/images/delete", json=_selection(selection, expected))
    return response.parse(_DELETION)


def restore_images(
    *, ids: Iterable[int] | None = None, deletion_id: int | None = None, skip_used_keys: bool = False
) -> CallFlow[Restored]:
    """Restore deleted images as they were: those with some ids, or all of one deletion.

    Raises `ProblemError` with the code `not_found` if one is not in the trash, and `key_in_use` if another image has
    its key now, unless `skip_used_keys` leaves such images in the trash. Then nothing is restored.
    """
    wanted: dict[str, Any] = {"ids": None if ids is None else list(ids), "deletion_id": deletion_id}
    body = {name: value for name, value in wanted.items() if value is not None} | {"skip_used_keys": skip_used_keys}
    response = yield Request("POST", "/trash/restore", json=body)
    return response.parse(_RESTORED)


def trash_page(*, cursor: str | None = None, limit: int = 500, deletion_id: int | None = None) -> CallFlow[TrashPage]:
    """Return a page of the deleted images that can be restored, the last deleted first."""
    params: dict[str, Parameter | None] = {"cursor": cursor, "limit": limit, "deletion_id": deletion_id}
    response = yield Request("GET", "/trash", params)
    return response.parse(_TRASH)


def empty_trash() -> CallFlow[int]:
    """Delete all images in the trash for good; return their number."""
    response = yield Request("DELETE", "/trash")
    return response.parse(_PURGED).purged


def export(*, ids: Iterable[int] | None = None, **options: Unpack[ExportOptions]) -> CallFlow[bytes]:
    """Return key, label and metadata of all images, or of some, as a table, from one snapshot."""
    chosen: dict[str, Parameter | None] = {"ids": None if ids is None else ",".join(map(str, ids))}
    response = yield Request("GET", "/images/export", parameters_of(options) | chosen)
    response.raise_for_status()
    return response.body


def _selection(selection: ImageSelection, expected: int) -> dict[str, Any]:
    body: dict[str, Any] = {name: value for name, value in selection.items() if value is not None}
    for name in ("ids", "keys"):
        if name in body:
            body[name] = list(body[name])
    return {**body, "expected": expected}
