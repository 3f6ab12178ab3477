"""Requests and responses about many images at once, and about the trash."""

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.dependencies import MAX_FILTER
from app.api.schemas.images import NFC, Metadata
from app.catalogue.database.tables import TrashedImage
from app.catalogue.selection import MAX_SELECTED, Selection
from app.catalogue.trash import expires_at
from app.common.json_values import MAX_ID
from app.errors import InvalidInputError
from app.search.filter import parse_filter
from app.search.words import parse_text

_TEXT = r"^[^\x00]*$"
_Ids = Annotated[list[Annotated[int, Field(ge=1, le=MAX_ID)]], Field(max_length=MAX_SELECTED)]
_Keys = Annotated[list[Annotated[str, Field(max_length=512, pattern=_TEXT)]], Field(max_length=MAX_SELECTED)]


class SelectionIn(BaseModel):
    """Images to change: `ids`, or `keys`, or those that match `label`, `filter` and `text`; and how many they are."""

    model_config = ConfigDict(extra="forbid")

    ids: _Ids | None = None
    keys: _Keys | None = None
    label: Annotated[str, Field(max_length=512, pattern=_TEXT)] | None = None
    filter: dict[str, Any] | None = Field(
        default=None, description="As the parameter `filter` of a search, but an object. `{}` matches every image."
    )
    text: str | None = Field(default=None, description="As the parameter `text` of a search.")
    expected: int = Field(
        ge=0, description="The number of images that this selects. If it is another, nothing changes: 409."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "SelectionIn":
        by_filter = any(value is not None for value in (self.label, self.filter, self.text))
        if (self.ids is not None) + (self.keys is not None) + by_filter != 1:
            raise ValueError("Select images by one of `ids`, `keys`, or `label`, `filter` and `text`")
        return self

    def selection(self) -> Selection:
        """Return the selection.

        Raises:
            InvalidInputError: the filter or the text is not valid.
        """
        filter_ = None if self.filter is None else _parsed(self.filter)
        words = None if self.text is None else parse_text(self.text)
        return Selection(self.ids, self.keys, self.label, filter_, words)


class UpdateManyIn(SelectionIn):
    """Changes to many images; in `metadata`, null removes a field, and fields that it omits stay."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"ids": [17, 18], "expected": 2, "set_label": "boots", "metadata": {"season": None}}
        },
    )

    set_label: Annotated[str, NFC, Field(max_length=512)] | None = Field(
        default=None, description="The new label; null removes it."
    )
    metadata: Metadata | None = None


class DeleteManyIn(SelectionIn):
    """Images to delete."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"filter": {"season": "2019"}, "expected": 20}}
    )


class UpdatedMany(BaseModel):
    """How many images have changed; those that were so already do not count."""

    changed: int


class DeletedMany(BaseModel):
    """How many images were deleted, and what `POST /trash/restore` needs to undo it."""

    deleted: int
    deletion_id: int | None = Field(
        description="Null if nothing was deleted, or nothing is kept (LOOKALIKE_TRASH_DAYS)."
    )


class RestoreIn(BaseModel):
    """Deleted images to restore: `ids`, or all of one deletion."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"deletion_id": 1207}})

    ids: _Ids | None = None
    deletion_id: Annotated[int, Field(ge=1, le=MAX_ID)] | None = None
    skip_used_keys: bool = Field(
        default=False, description="Restore the others if keys are in use again. Otherwise that is a 409."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "RestoreIn":
        if (self.ids is None) == (self.deletion_id is None):
            raise ValueError("Give either `ids` or `deletion_id`")
        return self


class RestoredMany(BaseModel):
    """How many images were restored, and how many were not, because their keys are in use again."""

    restored: int
    skipped: int


class TrashedImageOut(BaseModel):
    """A deleted image that can be restored until `expires_at`."""

    id: int
    key: str
    label: str | None
    metadata: Metadata
    media_type: str
    width: int
    height: int
    size_bytes: int
    created_at: datetime
    thumbnail_url: str
    deletion_id: int = Field(description="The same for all images that were deleted together.")
    deleted_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, image: TrashedImage, days: float, root_path: str) -> "TrashedImageOut":
        """Convert a row of the trash, which is kept for some days."""
        names = (
            *("key", "label", "media_type", "width", "height", "size_bytes"),
            *("created_at", "deletion_id", "deleted_at"),
        )
        return cls(
            **{name: getattr(image, name) for name in names},
            id=image.image_id,
            metadata=image.metadata_,
            thumbnail_url=f"{root_path}/trash/{image.image_id}/thumbnail",
            expires_at=expires_at(image, days),
        )


class TrashPage(BaseModel):
    """A page of deleted images, the last deleted first."""

    items: list[TrashedImageOut]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")


class EmptiedTrash(BaseModel):
    """How many images were deleted for good."""

    purged: int


def _parsed(wanted: dict[str, Any]) -> Any:
    try:
        text = json.dumps(wanted, ensure_ascii=False)
    except RecursionError as error:
        raise InvalidInputError("filter", "is nested too deeply") from error
    if len(text) > MAX_FILTER:
        raise InvalidInputError("filter", f"has more than {MAX_FILTER:,} characters as JSON")
    return parse_filter(text)
