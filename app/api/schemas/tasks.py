"""Requests and responses about maintenance tasks and models."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.tasks.rows import State, TaskKind

TASK_EXAMPLE: dict[str, Any] = {
    "kind": "reindex",
    "state": "running",
    "model": "general-large",
    "step": "encoding",
    "processed": 6400,
    "total": 20000,
    "message": "",
    "started_at": "2026-11-21T12:00:00Z",
    "ended_at": "2026-11-21T12:06:00Z",
}


class ReindexIn(BaseModel):
    """The model to move the catalogue to."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"model": "general-large"}})

    model: Annotated[str, Field(min_length=1, max_length=4096, description="A `name` of `GET /models`.")]


class TaskOut(BaseModel):
    """The last run of a kind of maintenance task."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": TASK_EXAMPLE})

    kind: TaskKind
    state: State
    model: str | None = Field(description="The model that a reindex moves to.")
    step: str | None = Field(description="What it is doing; null at first.")
    processed: int = Field(description="Progress of the step.")
    total: int | None = Field(description="What `processed` reaches; null until it is known.")
    message: str | None = Field(description="Its result, or why it failed.")
    started_at: datetime
    ended_at: datetime | None


class TaskList(BaseModel):
    """The last run of each kind of maintenance task."""

    items: list[TaskOut] = Field(description="The latest first.")


class AvailableModelOut(BaseModel):
    """A model that the catalogue can move to."""

    name: str = Field(description="Name of a shipped model, or path of a checkpoint that the catalogue used before.")
    fingerprint: str
    backbone: str
    bits: int
    feature_dim: int
    precision: str = Field(description="`f32`, or `int8` or `bf16` for a quantised one.")
    classes: int = Field(description="Number of labels that it was trained with; 0 for one that knows no labels.")
    active: bool = Field(description="Whether the catalogue uses it.")


class ModelList(BaseModel):
    """Models that the catalogue can move to."""

    items: list[AvailableModelOut]
