"""Requests and responses about images, as pydantic models with examples for Swagger UI."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.api.problem_codes import ProblemCode, image_code
from app.api.problems import Problem
from app.catalogue.database.tables import Image
from app.common.json_values import merge_fields
from app.common.unicode_names import nfc
from app.ingest.uploads import AddResult, ItemStatus

PROBLEM: dict[str, Any] = {"model": Problem}
Metadata = dict[str, Any]
# Lengths are those of the normalised text, which is what is stored.
NFC = BeforeValidator(lambda value: nfc(value) if isinstance(value, str) else value)
# Bytes of memory that a byte of JSON takes while it is parsed or serialised: as text, as objects, and as models.
JSON_MEMORY_FACTOR = 8
Warnings = Annotated[
    list[str],
    Field(
        description="If nothing is found: the label, fields of the filter and words that no image has. If "
        "`group_limit_reached`: the limit."
    ),
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
    def of(cls, image: Image, root_path: str) -> "ImageOut":
        """Convert a row of the catalogue, with URLs below the root path."""
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
        return cls(
            **{name: getattr(image, name) for name in names}, metadata=image.metadata_, **urls(image.id, root_path)
        )


class ImagePage(BaseModel):
    """A page of images."""

    items: list[ImageOut]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")
    total: int | None = Field(
        default=None, description="On the first page: number of images on all pages. Null on later ones."
    )
    warnings: Warnings = []


class ImageDescription(BaseModel):
    """One image's entry in the `metadata` field of `POST /index`.

    Its metadata is its additional fields, and those of an object `metadata`, as in a PATCH.
    """

    model_config = ConfigDict(extra="allow")

    key: Annotated[str, NFC, Field(min_length=1, max_length=512)] | None = None
    label: Annotated[str, NFC, Field(max_length=512)] | None = None
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _fields_occur_once(self) -> "ImageDescription":
        self.fields()
        return self

    def fields(self) -> Metadata:
        """Return the image's metadata."""
        return merge_fields(self.model_extra or {}, self.metadata)


class ItemOut(BaseModel):
    """The result of adding one image."""

    id: int | None
    key: str
    status: ItemStatus
    error_code: ProblemCode | None = Field(default=None, description="Why it was rejected.")
    error: str | None = Field(default=None, description="Explanation of `error_code`, for people.")
    warnings: list[str] = Field(default=[], description="Flaws of a file that was added all the same, for people.")
    duplicate_of: str | None = Field(
        default=None, description="If it was created or skipped: the key of another image with the same bytes."
    )

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
            duplicate_of=added.duplicate_of,
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


def urls(image_id: int, root_path: str) -> dict[str, str]:
    """Return the URLs of an image's original and thumbnail."""
    return {
        "image_url": f"{root_path}/images/{image_id}/original",
        "thumbnail_url": f"{root_path}/images/{image_id}/thumbnail",
    }
