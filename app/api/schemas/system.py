"""What whoever runs the service sees over HTTP."""

from typing import Literal

from pydantic import BaseModel, Field


class ModelOut(BaseModel):
    """The network in use."""

    name: str
    fingerprint: str
    backbone: str
    bits: int
    feature_dim: int
    feature_norm: str


class ReindexingOut(BaseModel):
    """The network that somebody encodes the catalogue with, to move to it."""

    fingerprint: str
    model: str = Field(description="Its name if it ships, else where it lies.")
    processed: int = Field(description="Pictures that it has encoded.")
    total: int = Field(description="All pictures.")


class StatsOut(BaseModel):
    """The catalogue in numbers."""

    images: int
    labels: int
    model: ModelOut
    reindexing: ReindexingOut | None = Field(description="While `lookalike reindex` is at work.")
    seq: int = Field(description="Number of the last change.")
    applied_seq: int = Field(description="The last change that the answering process has in its index.")
    bytes: dict[str, int] = Field(description="Originals, vectors on disk, codes in memory.")
    version: str


class HealthOut(BaseModel):
    """A sign of life."""

    status: Literal["alive"] = "alive"


class ReadyOut(BaseModel):
    """Whether searches can be answered."""

    status: Literal["ready"] = "ready"
    images: int | None = Field(
        default=None, description="Pictures in the index. Only for callers that may search: others get no number."
    )
