"""Add images: `POST /index`."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import File, Form, UploadFile
from pydantic import ValidationError

from app.api.dependencies import OnDuplicateParameter, ServiceDep
from app.api.known_parameters import resource_router
from app.api.problems import reason_of
from app.api.schemas.images import PROBLEM, ImageDescription, IndexOut, ItemOut
from app.api.uploads import UploadRoute
from app.catalogue.metadata_patch import MetadataPatch
from app.common.json_values import parse_json
from app.errors import InvalidInputError
from app.ingest.uploads import OnDuplicate, Upload

router = resource_router("catalogue", route_class=UploadRoute)

# Maximum images in memory at a time, and in one commit; and their maximum bytes, unless a single one is larger.
CHUNK_IMAGES, CHUNK_BYTES = 64, 32_000_000
EXAMPLE = '[{"key": "sku-17", "label": "boots", "price": 89.5}]'


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
        str | UploadFile,
        Form(
            description="A JSON list with one object per image, in order, as text or as a file: `key` (your id; "
            "default: the SHA-256 of the bytes), `label`, and any other fields, which become its `metadata`; an object "
            f"`metadata` may hold them too. For one image: `{EXAMPLE}`, or the object alone."
        ),
    ] = "",
    on_duplicate: OnDuplicateParameter = OnDuplicate.ADD,
) -> IndexOut:
    """Add images, or update those with an existing `key`.

    Results are in the order of the images; one that is not valid is `rejected` with the reason, and the others are
    stored. `duplicate_of` names another image with the same bytes; with `on_duplicate=skip` such a new image is
    `skipped`. When the response arrives, they are durable and every later search finds them.
    """
    descriptions = parse_metadata(_text(metadata, service.settings.max_form_field_bytes), len(images))
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
    """Parse the `metadata` form field, a JSON list with one object per image; for one image, the object alone.

    Raises:
        InvalidInputError: it is not a list of `count` objects with valid values.
    """
    if not metadata.strip():
        return [ImageDescription() for _ in range(count)]
    try:
        parsed = parse_json(metadata)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("metadata", f"is not a JSON list of objects: {error}") from error
    entries = [parsed] if isinstance(parsed, dict) and count == 1 else parsed
    if not isinstance(entries, list):
        raise InvalidInputError("metadata", f"is not a list. Send a JSON list of {count} objects, one per image")
    if len(entries) != count:
        reason = f"has {len(entries)} entries for {count} images. Send one object per image"
        raise InvalidInputError("metadata", reason)
    return [_description(entry, number) for number, entry in enumerate(entries)]


def _description(entry: Any, number: int) -> ImageDescription:
    if not isinstance(entry, dict):
        raise InvalidInputError("metadata", f'{number}: is not an object. Send one such as {{"key": "sku-17"}}')
    try:
        return ImageDescription.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (number, *first["loc"])))
        raise InvalidInputError("metadata", f"{place}: {reason_of(first)}") from error


def _text(metadata: str | UploadFile, max_bytes: int) -> str:
    """Return the `metadata` field's text, also if it is sent as a file."""
    if isinstance(metadata, str):
        return metadata
    data = metadata.file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InvalidInputError("metadata", f"has more than {max_bytes:,} bytes. Send fewer images at once")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError("metadata", "is not UTF-8. Save the file as UTF-8") from error


def _upload(data: bytes, description: ImageDescription) -> Upload:
    patch: MetadataPatch = {}
    if description.label is not None:
        patch["label"] = description.label
    fields = {name: value for name, value in description.fields().items() if value is not None}
    if fields:
        patch["metadata"] = fields
    return Upload(data, description.key, patch)
