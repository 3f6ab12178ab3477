"""Requests and responses of decisions about duplicates."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.schemas.images import ImageOut, Metadata
from app.catalogue.duplicates.merge import Merged
from app.common.json_values import MAX_ID

# Images of one request: 19,900 pairs.
MAX_DISTINCT, MAX_MERGED = 200, 1000
_Id = Annotated[int, Field(ge=1, le=MAX_ID)]


class DistinctIn(BaseModel):
    """Images of which no two are duplicates of each other."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"ids": [17, 18]}})

    ids: Annotated[list[_Id], Field(min_length=2, max_length=MAX_DISTINCT)]


class DistinctOut(BaseModel):
    """The number of pairs that changed."""

    pairs: int


class MergeIn(BaseModel):
    """An image to keep, and its duplicates, to be merged into it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"keep": 17, "merge": [18, 23]}})

    keep: _Id
    merge: Annotated[list[_Id], Field(min_length=1, max_length=MAX_MERGED)]

    @model_validator(mode="after")
    def _keeps_another(self) -> "MergeIn":
        if self.keep in self.merge:
            raise ValueError(f"Image {self.keep} is both kept and merged. Leave it out of `merge`")
        return self


class AddedFields(BaseModel):
    """Label and metadata that an image took over from others."""

    label: str | None = None
    metadata: Metadata = {}


class MergedOut(BaseModel):
    """The result of a merge."""

    image: ImageOut = Field(description="The image that was kept.")
    added: AddedFields = Field(description="What it took over from the others.")
    deleted: int = Field(description="The number of images merged into it.")
    deletion_id: int | None = Field(
        description="For `POST /trash/restore`, which restores them; null if they are deleted for good."
    )

    @classmethod
    def of(cls, merged: Merged, deleted: int, root_path: str) -> "MergedOut":
        """Convert the result, with URLs below the root path."""
        added = AddedFields(label=merged.added.get("label"), metadata=merged.added.get("metadata", {}))
        image = ImageOut.of(merged.image, root_path)
        return cls(image=image, added=added, deleted=deleted, deletion_id=merged.deletion_id)
