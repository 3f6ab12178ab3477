"""What travels over HTTP, as pydantic models with the examples that Swagger UI shows."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.problem_codes import ProblemCode, image_code
from app.api.problems import Problem
from app.catalogue.database.tables import Picture
from app.catalogue.queries import Shown
from app.ingest.pipeline import Added
from app.search.pipeline import Explanation
from app.search.types import Match, Mode

PROBLEM: dict[str, Any] = {"model": Problem}
Metadata = dict[str, Any]
# Bytes of memory that a byte of JSON takes while it is read or made: as text, as objects, and as models.
JSON_MEMORY_FACTOR = 8
Warnings = Annotated[
    list[str], Field(description="Where nothing is found: what the filters ask for that no picture has.")
]


class ImageOut(BaseModel):
    """A picture of the catalogue."""

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
    def of(cls, picture: Picture) -> "ImageOut":
        """Shows a row of the catalogue."""
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
        return cls(**{name: getattr(picture, name) for name in names}, metadata=picture.metadata_, **urls(picture.id))


class ImagePage(BaseModel):
    """Some pictures, and where the next ones begin."""

    items: list[ImageOut]
    next_cursor: str | None = Field(description="Give this as `cursor` for the next page; null on the last one.")
    warnings: Warnings = []


class ExplanationOut(BaseModel):
    """Why a match is where it is."""

    coarse_rank: int | None = Field(description="Its place by code alone, from 1; null for `es`, which reads no codes.")
    code: str = Field(description="Its binary code, hexadecimal.")
    differing_bits: list[int] = Field(
        description="Which bits differ from the query's, from 0, the first of the first byte."
    )

    @classmethod
    def of(cls, explanation: Explanation) -> "ExplanationOut":
        """Shows an explanation."""
        code = explanation.code.tobytes().hex()
        return cls(coarse_rank=explanation.coarse_rank, code=code, differing_bits=explanation.bits)


class MatchOut(BaseModel):
    """One picture that was found."""

    id: int
    key: str
    distance: float = Field(description="What ranked it: L2 on F7, or for `bcs` the bits that differ.")
    hamming: int = Field(description="Bits in which its code differs from the query's.")
    similarity: float | None = Field(
        description="What the distance means, from 0 to 1, the same in every catalogue of one network: how likely two "
        "pictures so far apart belong together, if as many did as did not. Null where the network was not calibrated."
    )
    label: str | None
    metadata: Metadata
    image_url: str
    thumbnail_url: str
    explanation: ExplanationOut | None = Field(default=None, description="With `explain=true`.")

    @classmethod
    def of(cls, match: Match, picture: Shown, explanation: Explanation | None = None) -> "MatchOut":
        """Shows a match, and what the catalogue knows of it."""
        return cls(
            id=match.id,
            key=picture.key,
            distance=match.distance,
            hamming=match.hamming,
            similarity=None if match.similarity is None else round(match.similarity, 6),
            label=picture.label,
            metadata=picture.metadata,
            **urls(match.id),
            explanation=None if explanation is None else ExplanationOut.of(explanation),
        )


class SearchOut(BaseModel):
    """What a search found."""

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

    model_fingerprint: str = Field(description="Fingerprint of the network that made the codes.")
    code: str = Field(description="The query's binary code, hexadecimal.")
    mode: Mode
    pool_size: int = Field(description="Candidates that the last step looked at.")
    catalogue_size: int
    results: list[MatchOut]
    warnings: Warnings = []
    timings_ms: dict[str, float]


class BatchItemOut(BaseModel):
    """What one of several queries found, or why its picture cannot be used."""

    response: SearchOut | None = None
    error_code: ProblemCode | None = Field(default=None, description="Why the image cannot be used.")
    error: str | None = Field(default=None, description="The same for people.")


class BatchOut(BaseModel):
    """What each query found, in the order they came."""

    items: list[BatchItemOut]


class ImageDescription(BaseModel):
    """What is said of one picture in the `metadata` field of `POST /index`; further fields become its metadata."""

    model_config = ConfigDict(extra="allow")

    key: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    label: Annotated[str, Field(max_length=512)] | None = None


class ItemOut(BaseModel):
    """What became of one picture."""

    id: int | None
    key: str
    status: Literal["created", "updated", "unchanged", "rejected"]
    error_code: ProblemCode | None = Field(default=None, description="Why it was rejected.")
    error: str | None = Field(default=None, description="The same for people.")

    @classmethod
    def of(cls, added: Added) -> "ItemOut":
        """Shows what became of an upload."""
        code = None if added.code is None else image_code(added.code)
        return cls(id=added.id, key=added.key, status=added.status, error_code=code, error=added.error)


class IndexOut(BaseModel):
    """What became of each picture, in the order they came."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"items": [{"id": 17, "key": "sku-17", "status": "created", "error_code": None, "error": None}]}
        }
    )

    items: list[ItemOut]


class ImagePatch(BaseModel):
    """What to change; what is left out stays. In `metadata`, null takes a field away (RFC 7396)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"label": "boots", "metadata": {"price": 79.0, "season": None}}},
    )

    label: Annotated[str, Field(max_length=512)] | None = None
    metadata: Metadata | None = None


class DuplicateGroupOut(BaseModel):
    """Pictures that are as good as the same."""

    image: MatchOut = Field(description="The oldest of them.")
    duplicates: list[MatchOut] = Field(description="The others, the nearest to it first.")


class DuplicatesOut(BaseModel):
    """What a part of the catalogue holds twice."""

    groups: list[DuplicateGroupOut]
    max_distance: float = Field(description="How far apart on F7 the pictures of a group are at most.")
    next_cursor: str | None = Field(description="Give this as `cursor` for the next part; null on the last one.")


class ValueCountOut(BaseModel):
    """A value, and how many pictures have it."""

    model_config = ConfigDict(from_attributes=True)

    value: str | bool | float
    count: int


class FacetOut(BaseModel):
    """A field of the metadata."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    type: Literal["text", "number", "boolean", "other"] = Field(
        description="`other`: lists, objects, or values of several kinds."
    )
    count: int = Field(description="How many have it.")
    values: list[ValueCountOut] = Field(description="The most frequent values, at most 50.")
    distinct: int = Field(description="How many different values there are.")
    min: float | None = Field(description="Of numbers.")
    max: float | None = Field(description="Of numbers.")


class FacetsOut(BaseModel):
    """What can be filtered by, the most frequent first."""

    model_config = ConfigDict(from_attributes=True)

    labels: list[ValueCountOut] = Field(description="At most 50.")
    fields: list[FacetOut] = Field(description="At most 50.")


def urls(picture_id: int) -> dict[str, str]:
    """Returns where a picture's original and thumbnail are served."""
    return {
        "image_url": f"/images/{picture_id}/original",
        "thumbnail_url": f"/images/{picture_id}/thumbnail",
    }
