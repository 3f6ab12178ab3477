"""Adding pictures: `POST /index`."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, NoReturn

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import TypeAdapter, ValidationError

from app.api.dependencies import ServiceDep
from app.api.schemas.images import PROBLEM, Described, IndexOut, ItemOut
from app.catalogue.changes import Given
from app.common.json_values import check_json
from app.errors import InvalidInputError
from app.ingest.pipeline import Upload

router = APIRouter(tags=["catalogue"])

# Pictures in memory at a time, and in one commit; and the bytes of theirs, unless a single one has more.
CHUNK, CHUNK_BYTES = 64, 32_000_000
EXAMPLE = '[{"key": "sku-17", "label": "boots", "price": 89.5}]'
DESCRIBED = TypeAdapter(list[Described])


@router.post(
    "/index",
    operation_id="add_images",
    status_code=201,
    summary="Put pictures into the catalogue",
    responses={
        413: {"description": "The request is too large.", **PROBLEM},
        422: {"description": "A field cannot be used.", **PROBLEM},
        503: {"description": "Not now; see Retry-After. The same request may be sent again.", **PROBLEM},
    },
)
def index(
    images: Annotated[list[UploadFile], File(description="One or more pictures.", min_length=1)],
    service: ServiceDep,
    metadata: Annotated[
        str,
        Form(
            description="A JSON list with one object per image, in order: `key` (yours; default: the SHA-256 of "
            f"the bytes), `label`, and any other fields, which come back as `metadata`. For one image: `{EXAMPLE}`"
        ),
    ] = "",
) -> IndexOut:
    """Adds pictures, or updates those whose `key` is there.

    Each picture is reported in order; one that cannot be used is `rejected` with the reason, and the others are
    stored. When the answer comes, they are stored for good and every later search finds them.
    """
    described = parse_metadata(metadata, len(images))
    items: list[ItemOut] = []
    for chunk in chunks([image.size or 0 for image in images]):
        pairs = zip(images[chunk], described[chunk], strict=True)
        added = service.ingest.add([_upload(image.file.read(), about) for image, about in pairs])
        items.extend(map(ItemOut.of, added))
    return IndexOut(items=items)


def chunks(sizes: Sequence[int]) -> Iterator[slice]:
    """Yields which images come into memory together, given their sizes in bytes."""
    first, size = 0, 0
    for at, more in enumerate(sizes):
        if at > first and (at - first == CHUNK or size + more > CHUNK_BYTES):
            yield slice(first, at)
            first, size = at, 0
        size += more
    yield slice(first, len(sizes))


def parse_metadata(metadata: str, images: int) -> list[Described]:
    """Reads the `metadata` field: what is said of each of so many images.

    Raises:
        InvalidInputError: it is not a list of that many objects with usable values.
    """
    if not metadata.strip():
        return [Described() for _ in range(images)]
    try:
        described = DESCRIBED.validate_python(check_json(json.loads(metadata, parse_constant=_no_constant)))
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError("metadata", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("metadata", f"is not a JSON list of objects: {error}") from error
    if len(described) != images:
        raise InvalidInputError("metadata", f"has {len(described)} entries for {images} images; give one for each")
    return described


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _upload(data: bytes, about: Described) -> Upload:
    given: Given = {}
    if "label" in about.model_fields_set:
        given["label"] = about.label
    if about.model_extra:
        given["metadata"] = about.model_extra
    return Upload(data, about.key, given)
