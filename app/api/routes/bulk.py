"""Many images at once: update, delete, restore from the trash."""

import re
from typing import Annotated, Any

from fastapi import Query, Response

from app.api.conditional import IfNoneMatch
from app.api.dependencies import ChargeDep, ImageId, ServiceDep
from app.api.known_parameters import resource_router
from app.api.paths import RootPathDep
from app.api.routes.images import IMAGE, PAGE_BYTES, check_json, fit_bytes, thumbnail_response, thumbnail_tag
from app.api.schemas.bulk import (
    DeletedMany,
    DeleteManyIn,
    EmptiedTrash,
    RestoredMany,
    RestoreIn,
    TrashedImageOut,
    TrashPage,
    UpdatedMany,
    UpdateManyIn,
)
from app.api.schemas.images import JSON_MEMORY_FACTOR, PROBLEM
from app.catalogue import trash
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.trash import TrashSelection
from app.common.json_values import MAX_ID
from app.errors import InvalidInputError, NotInTrashError

router = resource_router(
    "catalogue",
    responses={
        422: {"description": "A parameter is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)

_CURSOR = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
_CHANGED: dict[int | str, dict[str, Any]] = {
    409: {"description": "The selection is not the expected one any more. Nothing has changed.", **PROBLEM}
}
_CANNOT_RESTORE: dict[int | str, dict[str, Any]] = {
    404: {"description": "Not in the trash, or no longer. Nothing has changed.", **PROBLEM},
    409: {"description": "A key is in use again. Nothing has changed.", **PROBLEM},
}


@router.post("/images/update", operation_id="update_images", summary="Change many images", responses=_CHANGED)
def update_images(body: UpdateManyIn, service: ServiceDep) -> UpdatedMany:
    """Change the label or metadata of up to 100,000 images, all or none of them."""
    changes: MetadataPatch = {}
    if "set_label" in body.model_fields_set:
        changes["label"] = check_json("set_label", body.set_label)
    if body.metadata is not None:
        changes["metadata"] = check_json("metadata", body.metadata)
    if not changes:
        raise InvalidInputError("set_label", "is missing, and so is metadata. Set one of them")
    return UpdatedMany(changed=service.ingest.update_many(body.selection(), body.expected, changes))


@router.post("/images/delete", operation_id="delete_images", summary="Delete many images", responses=_CHANGED)
def delete_images(body: DeleteManyIn, service: ServiceDep) -> DeletedMany:
    """Delete up to 100,000 images, all or none of them; `POST /trash/restore` undoes it for some time."""
    deleted = service.trash.delete(body.selection(), body.expected)
    return DeletedMany(deleted=deleted.images, deletion_id=deleted.deletion_id)


@router.get("/trash", operation_id="list_trash", summary="List deleted images")
def list_trash(
    service: ServiceDep,
    charge: ChargeDep,
    root_path: RootPathDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the previous page.")] = None,
    deletion_id: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only images of this deletion.")] = None,
) -> TrashPage:
    """List the deleted images that can be restored, the last deleted first."""
    days = service.settings.trash_days
    which = TrashSelection(days, deletion_id=deletion_id)
    with service.database.read_session() as session:
        rows = trash.sizes_after(session, which, _parse_cursor(cursor), limit + 1)
        shown = rows[: min(limit, fit_bytes(PAGE_BYTES, (size for _, _, size in rows)))]
        charge.add(JSON_MEMORY_FACTOR * sum(size for _, _, size in shown))
        images = trash.trashed_images(session, [image_id for _, image_id, _ in shown])
    last = shown[-1] if len(shown) < len(rows) else None
    return TrashPage(
        items=[TrashedImageOut.of(image, days, root_path) for image in images],
        next_cursor=None if last is None else f"{last[0]}-{last[1]}",
    )


@router.get(
    "/trash/{image_id}/thumbnail",
    operation_id="get_trashed_thumbnail",
    summary="Get the thumbnail of a deleted image",
    responses=IMAGE | {404: {"description": "There is no such image in the trash.", **PROBLEM}},
    response_class=Response,
)
def get_trashed_thumbnail(image_id: ImageId, service: ServiceDep, if_none_match: IfNoneMatch) -> Response:
    """Return the thumbnail of an image in the trash."""
    with service.database.read_session() as session:
        images = trash.trashed_images(session, [image_id])
        if not images:
            raise NotInTrashError([image_id], None, service.settings.trash_days)
        tag = thumbnail_tag(session, image_id, images[0].sha256)
    return thumbnail_response(service, image_id, images[0].sha256, tag, if_none_match)


@router.post(
    "/trash/restore", operation_id="restore_images", summary="Restore deleted images", responses=_CANNOT_RESTORE
)
def restore_images(body: RestoreIn, service: ServiceDep) -> RestoredMany:
    """Restore deleted images as they were, with their ids, all or none of them; later searches find them."""
    which = TrashSelection(service.settings.trash_days, body.ids, body.deletion_id)
    restored = service.trash.restore(which, skip_used_keys=body.skip_used_keys)
    return RestoredMany(restored=restored.images, skipped=restored.skipped)


@router.delete("/trash", operation_id="empty_trash", summary="Empty the trash")
def empty_trash(service: ServiceDep) -> EmptiedTrash:
    """Delete all images in the trash for good, with their files."""
    return EmptiedTrash(purged=service.trash.empty())


def _parse_cursor(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    numbers = _CURSOR.fullmatch(cursor)
    if numbers is None or max(map(int, numbers.groups())) > MAX_ID:
        raise InvalidInputError("cursor", "is not valid. Use `next_cursor` of the previous page")
    return int(numbers[1]), int(numbers[2])
