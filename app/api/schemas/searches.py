"""Responses of searches and of the search for duplicates, as pydantic models with examples for Swagger UI."""

from pydantic import BaseModel, ConfigDict, Field

from app.api.problem_codes import ProblemCode
from app.api.schemas.images import Metadata, urls
from app.catalogue.queries import ImageSummary
from app.search.duplicates import DuplicateKind
from app.search.pipeline import Explanation
from app.search.types import Match, Mode
from models.checkpoint.similarity import band_of


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
    distance: float = Field(
        description="L2 distance on F7; for `bcs` the Hamming distance. Results are in this order, except `bcs` in "
        "asymmetric order."
    )
    hamming: int = Field(description="Hamming distance between its code and the query's.")
    similarity: float | None = Field(
        description="From 0 to 1: 1 for an identical image, 0.95 or more for the same picture saved again, mostly 0.5 "
        "to 0.9 for one kind and look, below 0.3 for most other kinds. Comparable between catalogues of one model. "
        "Null if the model is not calibrated."
    )
    similarity_band: str | None = Field(
        default=None, description="Name of the range that `similarity` is in, as `GET /stats` lists them."
    )
    label: str | None
    metadata: Metadata
    image_url: str
    thumbnail_url: str
    explanation: ExplanationOut | None = Field(default=None, description="With `explain=true`.")

    @classmethod
    def of(
        cls, match: Match, image: ImageSummary, root_path: str, explanation: Explanation | None = None
    ) -> "MatchOut":
        """Convert a match and its record in the catalogue, with URLs below the root path."""
        return cls(
            id=match.id,
            key=image.key,
            distance=match.distance,
            hamming=match.hamming,
            similarity=None if match.similarity is None else round(match.similarity, 6),
            similarity_band=None if match.similarity is None else band_of(match.similarity).name,
            label=image.label,
            metadata=image.metadata,
            **urls(match.id, root_path),
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
                "asymmetric": False,
                "pool_size": 360,
                "catalogue_size": 360,
                "results": [
                    {
                        "id": 17,
                        "key": "sku-17",
                        "distance": 0.0,
                        "hamming": 0,
                        "similarity": 1.0,
                        "similarity_band": "very similar",
                        "label": "boots",
                        "metadata": {"price": 89.5, "colour": "brown"},
                        "image_url": "/images/17/original",
                        "thumbnail_url": "/images/17/thumbnail",
                    }
                ],
                "group_limit_reached": False,
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
    asymmetric: bool = Field(description="Whether candidates were in asymmetric order.")
    pool_size: int = Field(description="Number of candidates in the last step.")
    catalogue_size: int
    results: list[MatchOut]
    group_limit_reached: bool = Field(
        default=False,
        description="With `group_by`: fewer than `k` groups were found among the nearest 100,000 images, or the "
        "`pool` if it is larger; there may be more groups.",
    )
    warnings: list[str] = Field(
        default=[],
        description="Flaws of the query's file, a group limit that was reached, and if nothing is found, the label, "
        "fields of the filter and words that no image has.",
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


class DuplicateGroupOut(BaseModel):
    """A group of images that are duplicates of each other, directly or through others of the group."""

    image: MatchOut = Field(description="The oldest image of the group.")
    duplicates: list[MatchOut] = Field(description="The others, the nearest to `image` first.")
    complete: bool = Field(description="False if the group has more images than the 1,000 listed.")


class DuplicatesOut(BaseModel):
    """A page of duplicate groups."""

    groups: list[DuplicateGroupOut]
    kind: DuplicateKind
    max_distance: float = Field(description="Maximum L2 distance on F7 between the images of a pair.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")
