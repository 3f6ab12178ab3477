"""Responses about training runs."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.quality.training_runs import RunState

_EPOCH: dict[str, Any] = {"epoch": 3, "loss": 0.91, "accuracy": 0.88, "es": 0.71, "hds": 0.79, "bcs": 0.78}
RUN_EXAMPLE: dict[str, Any] = {
    "name": "mine",
    "state": "running",
    "updated_at": "2026-11-21T12:00:00Z",
    "epoch": 4,
    "epochs": 21,
    "step": 57,
    "steps": 101,
    "images_per_second": 38.5,
    "seconds_left": 1460,
    "history": [_EPOCH],
    "checkpoints": ["mine-head"],
}


class EpochOut(BaseModel):
    """Scores on held-out images after an epoch; epoch 0 is the head on frozen features."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _EPOCH})

    epoch: int
    loss: float | None = Field(description="Mean loss of the epoch; null for the head.")
    accuracy: float = Field(description="Share of held-out images whose label is recognised.")
    es: float | None = Field(description="Share of ten results with the query's label, by features alone.")
    hds: float | None = Field(description="The same for both steps. The best epoch by this becomes the model.")
    bcs: float | None = Field(description="The same by codes alone.")


class TrainingRunOut(BaseModel):
    """A run of `lookalike train`."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": RUN_EXAMPLE})

    name: str = Field(description="Name of its checkpoint.")
    state: RunState = Field(description="`stopped`: it has written nothing for ten minutes.")
    updated_at: datetime
    epoch: int = Field(description="The current epoch; 0 while the head is made.")
    epochs: int = Field(description="Planned number of epochs; it may end earlier.")
    step: int
    steps: int
    images_per_second: float | None
    seconds_left: float | None
    history: list[EpochOut]
    checkpoints: list[str] = Field(description="Models that can be used, by name.")


class TrainingRunList(BaseModel):
    """Training runs, the latest first."""

    folder: str = Field(description="The folder that is read.")
    items: list[TrainingRunOut]
