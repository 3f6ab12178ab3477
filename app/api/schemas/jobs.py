"""Responses about jobs."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.ingest.jobs import rows
from models.data.left_out import MAX_NAMES

JOB_EXAMPLE: dict[str, Any] = {
    "id": 1,
    "state": "running",
    "size_bytes": 73400320,
    "total": 1200,
    "processed": 640,
    "created": 631,
    "updated": 0,
    "unchanged": 8,
    "rejected": 1,
    "attempts": 1,
    "left_out": {"Images in system folders left out": {"count": 3, "names": ["__MACOSX"]}},
    "created_at": "2026-11-21T12:00:00Z",
    "updated_at": "2026-11-21T12:00:09Z",
}
REJECTION_EXAMPLE: dict[str, Any] = {
    "name": "hats/17.jpg",
    "key": "hats/17.jpg",
    "reason": "The image is damaged: it ends too soon.",
}

WARNING_EXAMPLE: dict[str, Any] = {
    "name": "hats/18.jpg",
    "key": "hats/18.jpg",
    "warning": "The last bytes of the JPEG are missing. All of its pixels are there, so it is used.",
}


class LeftOutOut(BaseModel):
    """Files of an archive that are left out for one reason."""

    count: int = Field(description="Number of files.")
    names: list[str] = Field(description=f"The first {MAX_NAMES}, or the folders that hold them.")


class JobOut(BaseModel):
    """A job, which adds the images of an archive."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": JOB_EXAMPLE})

    id: int
    state: Literal["running", "done", "failed", "cancelled"] = Field(
        description="A job that waits for earlier jobs is `running` too."
    )
    size_bytes: int = Field(description="Size of the archive.")
    total: int | None = Field(description="Number of entries; null until they are counted.")
    processed: int = Field(description="Number of entries processed.")
    created: int
    updated: int
    unchanged: int
    rejected: int
    attempts: int = Field(
        description=f"Consecutive attempts without progress. After {rows.MAX_ATTEMPTS} that ended by a kill or a "
        "crash, the job fails."
    )
    error: str | None = Field(default=None, description="Why the job failed, or what it waits for.")
    left_out: dict[str, LeftOutOut] = Field(
        default={},
        description="What the archive holds besides its entries, such as files in hidden folders: by reason.",
    )
    created_at: datetime
    updated_at: datetime


class RejectionOut(BaseModel):
    """A rejected entry of an archive."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="Path in the archive.")
    key: str
    reason: str


class EntryWarningOut(BaseModel):
    """An entry of an archive that was added although its file has a flaw."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="Path in the archive.")
    key: str
    warning: str


class JobDetails(JobOut):
    """A job, its rejected entries and those with warnings."""

    model_config = ConfigDict(
        json_schema_extra={"example": {**JOB_EXAMPLE, "rejections": [REJECTION_EXAMPLE], "warnings": [WARNING_EXAMPLE]}}
    )

    rejections: list[RejectionOut] = Field(
        description=f"The first {rows.MAX_REJECTIONS:,} rejected entries, in the archive's order."
    )
    warnings: list[EntryWarningOut] = Field(
        description=f"The first {rows.MAX_REJECTIONS:,} entries that were added although their files have a flaw."
    )


class JobPage(BaseModel):
    """A page of jobs."""

    items: list[JobOut]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")
