"""Add images: `POST /index`."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, NoReturn

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import TypeAdapter, ValidationError

from app.api.dependencies import OnDuplicateParameter, ServiceDep
from app.api.schemas.images import PROBLEM, ImageDescription, IndexOut, ItemOut
from app.catalogue.changes import MetadataPatch
from app.common.json_values import validate_json
from app.errors import InvalidInputError
from app.ingest.on_duplicate import OnDuplicate
from app.ingest.pipeline import Upload

router = APIRouter(tags=["catalogue"])

# Maximum images in memory at a time, and in one commit; and their maximum bytes, unless a single one is larger.
CHUNK_IMAGES, CHUNK_BYTES = 64, 32_000_000
EXAMPLE = '[{"key": "sku-17", "label": "boots", "price": 89.5}]'
DESCRIPTIONS = TypeAdapter(list[ImageDescription])


@router.post(
    "/index",
    operation_id="add_images",
    status_code=201,
    summary="Add images",
    responses={
        413: {"description": "The request is too large.", **PROBLEM},
        422: {"description": "A field is not valid.", **PROBLEM},
        503: {
            "description": "Temporarily unavailable; see Retry-After. The same request may be sent again.",
            **PROBLEM,
        },
    },
)
def index(
    images: Annotated[list[UploadFile], File(description="One or more images.", min_length=1)],
    service: ServiceDep,
    metadata: Annotated[
        str,
        Form(
            description="A JSON list with one object per image, in order: `key` (your id; default: the SHA-256 of "
            f"the bytes), `label`, and any other fields, which become its `metadata`. For one image: `{EXAMPLE}`"
        ),
    ] = "",
    on_duplicate: OnDuplicateParameter = OnDuplicate.ADD,
) -> IndexOut:
    """Add images, or update those with an existing `key`.

    Results are in the order of the images; one that is not valid is `rejected` with the reason, and the others are
    stored. `duplicate_of` names another image with the same bytes; with `on_duplicate=skip` such a new image is
    `skipped`. When the response arrives, they are durable and every later search finds them.
    """
    descriptions = parse_metadata(metadata, len(images))
    items: list[ItemOut] = []
    for chunk in chunks([image.size or 0 for image in images]):
        pairs = zip(images[chunk], descriptions[chunk], strict=True)
        uploads = [_upload(image.file.read(), description) for image, description in pairs]
        added = service.ingest.add(uploads, on_duplicate=on_duplicate)
        items.extend(map(ItemOut.of, added))
    return IndexOut(items=items)


def chunks(sizes: Sequence[int]) -> Iterator[slice]:
    """Split images into chunks to process together, given their sizes in bytes."""
    first, size = 0, 0
    for at, more in enumerate(sizes):
        if at > first and (at - first == CHUNK_IMAGES or size + more > CHUNK_BYTES):
            yield slice(first, at)
            first, size = at, 0
        size += more
    yield slice(first, len(sizes))


def parse_metadata(metadata: str, count: int) -> list[ImageDescription]:
    """Parse the `metadata` form field, a JSON list with one object per image.

    Raises:
        InvalidInputError: it is not a list of `count` objects with valid values.
    """
    if not metadata.strip():
        return [ImageDescription() for _ in range(count)]
    try:
        descriptions = DESCRIPTIONS.validate_python(
            validate_json(json.loads(metadata, parse_constant=_reject_constant))
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError("metadata", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("metadata", f"is not a JSON list of objects: {error}") from error
    if len(descriptions) != count:
        reason = f"has {len(descriptions)} entries for {count} images. Send one object per image"
        raise InvalidInputError("metadata", reason)
    return descriptions


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


def _upload(data: bytes, description: ImageDescription) -> Upload:
    patch: MetadataPatch = {}
    if "label" in description.model_fields_set:
        patch["label"] = description.label
    if description.model_extra:
        patch["metadata"] = description.model_extra
    return Upload(data, description.key, patch)
