"""Responses of statistics and health checks."""

from typing import Literal

from pydantic import BaseModel, Field


class ModelOut(BaseModel):
    """The model in use."""

    name: str
    fingerprint: str
    backbone: str
    bits: int
    feature_dim: int
    feature_norm: str
    pool: int = Field(description="Number of candidates of a search without `pool`.")
    adapted: bool = Field(description="Whether the codes were fitted to this catalogue.")


class SimilarityBandOut(BaseModel):
    """A range of similarities, named for people."""

    name: str
    min_similarity: float = Field(description="Lower end of the range; its upper end is that of the range before it.")


class ReindexingOut(BaseModel):
    """Progress of reindexing the catalogue with another model."""

    fingerprint: str
    model: str = Field(description="Name of a bundled model, or path of a checkpoint.")
    processed: int = Field(description="Images encoded so far.")
    total: int = Field(description="All images.")


class CodeQualityOut(BaseModel):
    """How well codes find the exact nearest neighbours, on a sample of the catalogue's own images."""

    bits: int
    codes: float = Field(description="Share of the ten exact nearest neighbours that the ten nearest codes are.")
    pool: int
    recall: float = Field(description="Share of the ten exact nearest neighbours that the pool holds.")
    precision: float | None = Field(description="Share of the ten nearest codes that have the query's label.")


class AdaptationOut(BaseModel):
    """The last time that codes were fitted to the catalogue."""

    outcome: Literal["adapted", "refused"] = Field(description="Whether the new codes gained enough to be used.")
    images: int
    before: CodeQualityOut
    after: CodeQualityOut
    seconds: float


class BetterModelOut(BaseModel):
    """A shipped model that ranks better than the one in use."""

    name: str
    gain: str = Field(description="What it gains, with measured figures.")
    command: str = Field(description="Command that moves the catalogue to it while searches go on.")
    estimated_seconds: int = Field(description="Estimated time of that command on this machine.")


class StatsOut(BaseModel):
    """Statistics of the catalogue."""

    images: int
    labels: int
    model: ModelOut
    similarity_bands: list[SimilarityBandOut] = Field(description="Names of similarities, the highest first.")
    better_model: BetterModelOut | None = Field(description="Present if a shipped model replaces the one in use.")
    adaptation: AdaptationOut | None = Field(description="Present once codes were fitted to the catalogue.")
    reindexing: ReindexingOut | None = Field(description="Present while `lookalike reindex` runs.")
    seq: int = Field(description="Sequence number of the latest change.")
    applied_seq: int = Field(description="Sequence number of the latest change in the index of the responding process.")
    bytes: dict[str, int] = Field(description="Bytes of originals, of vectors on disk, and of codes in memory.")
    version: str


class HealthOut(BaseModel):
    """Result of the liveness check."""

    status: Literal["alive"] = "alive"


class ReadyOut(BaseModel):
    """Result of the readiness check."""

    status: Literal["ready"] = "ready"
    images: int | None = Field(
        default=None, description="Images in the index. Present only for callers that may search."
    )
