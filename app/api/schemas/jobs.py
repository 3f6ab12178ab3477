"""Responses about jobs."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.ingest.jobs import rows

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
    "created_at": "2026-11-21T12:00:00Z",
    "updated_at": "2026-11-21T12:00:09Z",
}
REJECTION_EXAMPLE: dict[str, Any] = {
    "name": "hats/17.jpg",
    "key": "hats/17.jpg",
    "reason": "The picture is damaged: it ends too soon.",
}


class JobOut(BaseModel):
    """An archive on its way into the catalogue."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": JOB_EXAMPLE})

    id: int
    state: Literal["running", "done", "failed", "cancelled"] = Field(
        description="`running` also while it waits for the jobs before it."
    )
    size_bytes: int = Field(description="Of the archive.")
    total: int | None = Field(description="How many entries there are; null until they are counted.")
    processed: int = Field(description="How many of them are processed.")
    created: int
    updated: int
    unchanged: int
    rejected: int
    attempts: int = Field(
        description="How often in a row it was taken up without getting further. After "
        f"{rows.MOST_ATTEMPTS} of them that ended without a reason (a kill, a crash) it fails."
    )
    error: str | None = Field(default=None, description="Why it failed, or what it waits for.")
    created_at: datetime
    updated_at: datetime


class RejectionOut(BaseModel):
    """An entry that could not be used."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="Its path in the archive.")
    key: str
    reason: str


class JobDetails(JobOut):
    """A job, and what of it could not be used."""

    model_config = ConfigDict(json_schema_extra={"example": {**JOB_EXAMPLE, "rejections": [REJECTION_EXAMPLE]}})

    rejections: list[RejectionOut] = Field(description=f"The first {rows.MOST_REASONS:,}, in the archive's order.")


class JobPage(BaseModel):
    """Some jobs, and where the next ones begin."""

    items: list[JobOut]
    next_cursor: str | None = Field(description="Give this as `cursor` for the next page; null on the last one.")
