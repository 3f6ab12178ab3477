"""Response about search quality."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class LabelQualityOut(BaseModel):
    """Search quality of one label."""

    label: str
    images: int
    queries: int = Field(description="How many of its images were used as queries.")
    precision: float | None = Field(description="Share of ten results that have the label; null if no result has one.")
    recall: float = Field(description="Share of the ten exact nearest neighbours that are found.")
    examples: list[int] = Field(description="Ids of the queries with the worst results, worst first.")

    @classmethod
    def of(cls, row: dict[str, Any]) -> "LabelQualityOut":
        """Convert a label of `report.json`; one of an earlier version has no examples."""
        return cls(
            label=row["label"],
            images=row["pictures"],
            queries=row["queries"],
            precision=row["both"],
            recall=row["recall"],
            examples=row.get("examples", []),
        )


class LabelSuspectOut(BaseModel):
    """Image whose label is probably wrong, because its nearest neighbours agree on another."""

    id: int
    label: str
    suggested: str = Field(description="The label of nearly all of its neighbours.")
    votes: int = Field(description="How many of the k nearest neighbours have that label.")
    neighbours: list[int] = Field(description="Ids of the nearest neighbours, the nearest first.")


class LabelConfusionOut(BaseModel):
    """Two labels whose images lie among each other."""

    label: str
    other: str
    images: int = Field(description="Queries of the label that have more neighbours of the other one.")
    of: int = Field(description="Queries of the label.")


class ReportSummaryOut(BaseModel):
    """Search quality of the catalogue, measured on its own images."""

    written_at: datetime
    images: int = Field(description="Images in the catalogue when it was measured.")
    queries: int = Field(description="How many of them were used as queries.")
    k: int = Field(description="Number of results of a query.")
    pool: int = Field(description="Number of candidates of a search.")
    recall: float = Field(description="Share of the k exact nearest neighbours that searches find.")
    precision: float | None = Field(description="Share of results with the query's label; null without labels.")
    recommended_pool: int
    advice: str = Field(description="Why this pool is recommended.")
    labels: list[LabelQualityOut] = Field(description="At most 50, those with the lowest precision first.")
    suspects: list[LabelSuspectOut] = Field(description="Queries with labels that are probably wrong, at most 50.")
    confused: list[LabelConfusionOut] = Field(description="Labels that are confused, at most 50, the most often first.")
