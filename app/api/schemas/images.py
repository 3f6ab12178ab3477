"""Requests and responses about images, as pydantic models with examples for Swagger UI."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.api.problem_codes import ProblemCode, image_code
from app.api.problems import Problem
from app.catalogue.database.tables import Image
from app.catalogue.queries import ImageSummary
from app.common.unicode_names import nfc
from app.ingest.pipeline import AddResult
from app.search.pipeline import Explanation
from app.search.types import Match, Mode

PROBLEM: dict[str, Any] = {"model": Problem}
Metadata = dict[str, Any]
# Lengths are those of the normalised text, which is what is stored.
NFC = BeforeValidator(lambda value: nfc(value) if isinstance(value, str) else value)
# Bytes of memory that a byte of JSON takes while it is parsed or serialised: as text, as objects, and as models.
JSON_MEMORY_FACTOR = 8
Warnings = Annotated[
    list[str], Field(description="If nothing is found: the label and fields of the filter that no image has.")
]


class ImageOut(BaseModel):
    """An image of the catalogue."""

    id: int
    key: str
    label: str | None
    metadata: Metadata
    media_type: str
    width: int
    height: int
    size_bytes: int
    created_at: datetime
    updated_at: datetime
    image_url: str
    thumbnail_url: str

    @classmethod
    def of(cls, image: Image) -> "ImageOut":
        """Convert a row of the catalogue."""
        names = (
            "id",
            "key",
            "label",
            "media_type",
            "width",
            "height",
            "size_bytes",
            "created_at",
            "updated_at",
        )
        return cls(**{name: getattr(image, name) for name in names}, metadata=image.metadata_, **urls(image.id))


class ImagePage(BaseModel):
    """A page of images."""

    items: list[ImageOut]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")
    warnings: Warnings = []


class ExplanationOut(BaseModel):
    """Explanation of a match's rank."""

    coarse_rank: int | None = Field(description="Rank by code, from 1; null for `es`, which reads no codes.")
    code: str = Field(description="Binary code, hexadecimal.")
    differing_bits: list[int] = Field(
        description="Positions of the bits that differ from the query's code; 0 is the first bit of the first byte."
    )

    @classmethod
    def of(cls, explanation: Explanation) -> "ExplanationOut":
        """Convert an explanation of the search pipeline."""
        code = explanation.code.tobytes().hex()
        return cls(coarse_rank=explanation.coarse_rank, code=code, differing_bits=explanation.bits)


class MatchOut(BaseModel):
    """An image found by a search."""

    id: int
    key: str
    distance: float = Field(description="L2 distance on F7; for `bcs` the Hamming distance. Results are in this order.")
    hamming: int = Field(description="Hamming distance between its code and the query's.")
    similarity: float | None = Field(
        description="Probability, from 0 to 1, that two images at this distance belong together, given equally many "
        "pairs that do and do not. Comparable between catalogues of one model. Null if the model is not calibrated."
    )
    label: str | None
    metadata: Metadata
    image_url: str
    thumbnail_url: str
    explanation: ExplanationOut | None = Field(default=None, description="With `explain=true`.")

    @classmethod
    def of(cls, match: Match, image: ImageSummary, explanation: Explanation | None = None) -> "MatchOut":
        """Convert a match and its record in the catalogue."""
        return cls(
            id=match.id,
            key=image.key,
            distance=match.distance,
            hamming=match.hamming,
            similarity=None if match.similarity is None else round(match.similarity, 6),
            label=image.label,
            metadata=image.metadata,
            **urls(match.id),
            explanation=None if explanation is None else ExplanationOut.of(explanation),
        )


class SearchOut(BaseModel):
    """The result of a search."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model_fingerprint": "5e2c0f1a9b7d4c33",
                "code": "9f3c52d1a4e07b6688f01c23d9e4ab57",
                "mode": "hds",
                "pool_size": 360,
                "catalogue_size": 360,
                "results": [
                    {
                        "id": 17,
                        "key": "sku-17",
                        "distance": 0.0,
                        "hamming": 0,
                        "similarity": 1.0,
                        "label": "boots",
                        "metadata": {"price": 89.5, "colour": "brown"},
                        "image_url": "/images/17/original",
                        "thumbnail_url": "/images/17/thumbnail",
                    }
                ],
                "warnings": [],
                "timings_ms": {
                    "decode": 1.9,
                    "encode": 4.4,
                    "coarse": 0.7,
                    "fine": 0.8,
                    "catalogue": 1.0,
                    "total": 9.1,
                },
            }
        }
    )

    model_fingerprint: str = Field(description="Fingerprint of the model that made the codes.")
    code: str = Field(description="The query's binary code, hexadecimal.")
    mode: Mode
    pool_size: int = Field(description="Number of candidates in the last step.")
    catalogue_size: int
    results: list[MatchOut]
    warnings: list[str] = Field(
        default=[],
        description="Flaws of the query's file; and if nothing is found, the label and fields of the filter that no "
        "image has.",
    )
    timings_ms: dict[str, float]


class BatchItemOut(BaseModel):
    """The result of one query of a batch, or the reason why its image is not valid."""

    response: SearchOut | None = None
    error_code: ProblemCode | None = Field(default=None, description="Why the image was rejected.")
    error: str | None = Field(default=None, description="Explanation of `error_code`, for people.")


class BatchOut(BaseModel):
    """The results of a batch, in the order of its queries."""

    items: list[BatchItemOut]


class ImageDescription(BaseModel):
    """One image's entry in the `metadata` field of `POST /index`; additional fields become its metadata."""

    model_config = ConfigDict(extra="allow")

    key: Annotated[str, NFC, Field(min_length=1, max_length=512)] | None = None
    label: Annotated[str, NFC, Field(max_length=512)] | None = None


class ItemOut(BaseModel):
    """The result of adding one image."""

    id: int | None
    key: str
    status: Literal["created", "updated", "unchanged", "rejected"]
    error_code: ProblemCode | None = Field(default=None, description="Why it was rejected.")
    error: str | None = Field(default=None, description="Explanation of `error_code`, for people.")
    warnings: list[str] = Field(default=[], description="Flaws of a file that was added all the same, for people.")

    @classmethod
    def of(cls, added: AddResult) -> "ItemOut":
        """Convert a result of the ingest pipeline."""
        code = None if added.code is None else image_code(added.code)
        return cls(
            id=added.id,
            key=added.key,
            status=added.status,
            error_code=code,
            error=added.error,
            warnings=list(added.warnings),
        )


class IndexOut(BaseModel):
    """The results of adding images, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "items": [
                    {"id": 17, "key": "sku-17", "status": "created", "error_code": None, "error": None, "warnings": []}
                ]
            }
        }
    )

    items: list[ItemOut]


class ImagePatch(BaseModel):
    """Changes to an image; omitted fields stay as they are. In `metadata`, null removes a field (RFC 7396)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"label": "boots", "metadata": {"price": 79.0, "season": None}}},
    )

    label: Annotated[str, NFC, Field(max_length=512)] | None = None
    metadata: Metadata | None = None


class DuplicateGroupOut(BaseModel):
    """A group of near-duplicates."""

    image: MatchOut = Field(description="The oldest image of the group.")
    duplicates: list[MatchOut] = Field(description="The others, nearest first.")


class DuplicatesOut(BaseModel):
    """A page of duplicate groups."""

    groups: list[DuplicateGroupOut]
    max_distance: float = Field(description="Maximum L2 distance on F7 between `image` and a duplicate.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")


class ValueCountOut(BaseModel):
    """A value and the number of images that have it."""

    model_config = ConfigDict(from_attributes=True)

    value: str | bool | float
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
    min: float | None = Field(description="Smallest value, for numbers.")
    max: float | None = Field(description="Largest value, for numbers.")


class FacetsOut(BaseModel):
    """Labels and metadata fields to filter by, most frequent first."""

    model_config = ConfigDict(from_attributes=True)

    labels: list[ValueCountOut] = Field(description="The most frequent labels, at most 50.")
    fields: list[FacetOut] = Field(description="The most frequent fields, at most 50.")


def urls(image_id: int) -> dict[str, str]:
    """Return the URLs of an image's original and thumbnail."""
    return {
        "image_url": f"/images/{image_id}/original",
        "thumbnail_url": f"/images/{image_id}/thumbnail",
    }
