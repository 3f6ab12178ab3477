"""Responses about the values that fields have."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ValueCountOut(BaseModel):
    """A value and the number of images that have it."""

    model_config = ConfigDict(from_attributes=True)

    value: str | bool | int | float = Field(description="As a filter takes it; whole numbers are exact.")
    count: int


class FacetOut(BaseModel):
    """A metadata field and its most frequent values."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    type: Literal["text", "number", "boolean", "other"] = Field(
        description="`other`: lists, objects, or values of several kinds."
    )
    count: int = Field(description="Number of images that have the field.")
    values: list[ValueCountOut] = Field(description="The most frequent values, at most 50.")
    distinct: int = Field(description="Number of distinct values.")
    min: int | float | None = Field(description="Smallest value, for numbers.")
    max: int | float | None = Field(description="Largest value, for numbers.")


class FacetsOut(BaseModel):
    """Labels and metadata fields to filter by, most frequent first."""

    model_config = ConfigDict(from_attributes=True)

    labels: list[ValueCountOut] = Field(description="The most frequent labels, at most 50.")
    fields: list[FacetOut] = Field(description="The most frequent fields, at most 50.")
