"""Changes to the catalogue: each is one transaction, numbered by `seq`, visible when it commits.

Taking a number locks the catalogue's row until the commit. So a reader that has applied `seq` has applied everything up
to it, ids grow with `seq`, and two writers of one key run one after the other. All other changes wait meanwhile, so do
no file or network I/O between taking the lock and the commit.

Keys, labels and metadata are stored in normalisation form C (`app/common/unicode_names.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ARRAY, Text, cast, false, literal, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from app.catalogue.database.tables import CatalogueState, Image
from app.catalogue.encodings import NewEncoding, delete_encodings, save_encodings
from app.catalogue.file_owners import duplicates_in
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.selection import Selection, among_ids, select_images
from app.catalogue.sequence import next_seq
from app.common.json_values import normalise_metadata
from app.common.unicode_names import nfc_json
from app.errors import ModelSwitchedError, NotFoundError

Status = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class ImageProperties:
    """Properties of an image file, determined by decoding it."""

    sha256: str
    media_type: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True)
class Put:
    """An image to create or update.

    Attributes:
        key: its key, in normalisation form C.
        sha256: hash of its bytes.
        properties, encoding: None if the bytes are those already stored under the key.
    """

    key: str
    sha256: str
    patch: MetadataPatch
    properties: ImageProperties | None
    encoding: NewEncoding | None


@dataclass(frozen=True)
class PutResult:
    """The result of a `Put`.

    Attributes:
        replaced: the hash of the previous original if the image no longer uses it.
        duplicate_of: for a new image, the key of another image with the same bytes.
    """

    id: int
    status: Status
    replaced: str | None = None
    duplicate_of: str | None = None


class CatalogueChangedError(Exception):
    """The catalogue changed while a change was prepared; prepare it again."""


def put_images(
    session: Session, index_version_id: int, puts: Sequence[Put], *, skip_duplicates: bool = False
) -> list[PutResult]:
    """Create or update images, in order, as one change.

    Raises:
        ModelSwitchedError: the catalogue has switched to another index version.
        CatalogueChangedError: an image whose bytes were to stay was deleted or replaced; or `skip_duplicates` is set,
            and another image with the bytes of a new one was added meanwhile.
    """
    seq, in_use = next_seq(session)
    if in_use != index_version_id:
        raise ModelSwitchedError(in_use)
    existing = _images_by_key(session, [put.key for put in puts])
    stored = {key: image.sha256 for key, image in existing.items()}
    duplicates = duplicates_in(session, [(put.key, put.sha256) for put in puts], stored)
    if skip_duplicates and any(duplicates):
        raise CatalogueChangedError
    applied = [(_apply(session, existing, put, seq), put.encoding) for put in puts]
    session.flush()
    # Encodings of replaced bytes in other index versions are outdated.
    delete_encodings(session, [image.id for (image, _, replaced), _ in applied if replaced is not None])
    save_encodings(session, index_version_id, seq, [(image.id, new) for (image, _, _), new in applied if new])
    return [
        PutResult(image.id, status, replaced, duplicate_of)
        for ((image, status, replaced), _), duplicate_of in zip(applied, duplicates, strict=True)
    ]


def patch_metadata(session: Session, image_id: int, metadata_patch: MetadataPatch) -> Image:
    """Update label and metadata of an image as one change; fields set to None are removed, missing ones stay.

    Raises:
        NotFoundError: there is no such image.
    """
    seq, _ = next_seq(session)
    image = session.get(Image, image_id)
    if image is None:
        raise NotFoundError("image", image_id)
    if "metadata" in metadata_patch:
        merged = image.metadata_ | nfc_json(metadata_patch["metadata"])
        metadata_patch = metadata_patch | {"metadata": merged}
    if _describe(image, metadata_patch):
        image.seq = seq
    session.flush()
    session.refresh(image)
    return image


def patch_many(session: Session, selection: Selection, expected: int, metadata_patch: MetadataPatch) -> int:
    """Update label and metadata of images as one change, as `patch_metadata` does; return how many changed.

    Raises:
        InvalidInputError, SelectionChangedError: see `select_images`.
    """
    seq, _ = next_seq(session)
    ids = select_images(session, selection, expected)
    given = nfc_json(metadata_patch)
    new: dict[Any, Any] = {}
    if "label" in given:
        new[Image.label] = literal(given["label"], Text)
    if "metadata" in given:
        removed = [name for name, value in given["metadata"].items() if value is None]
        kept = Image.metadata_.op("-", return_type=JSONB)(cast(removed, ARRAY(Text)))
        new[Image.metadata_] = kept.op("||", return_type=JSONB)(cast(normalise_metadata(given["metadata"]), JSONB))
    differs = or_(false(), *(column.is_distinct_from(value) for column, value in new.items()))
    changed = update(Image).where(among_ids(Image.id, ids), differs).values({**new, Image.seq: seq})
    return len(session.execute(changed.returning(Image.id)).all())


def set_old_thumbnails_to(session: Session, image_id: int) -> None:
    """Record that images with larger ids have thumbnails of the current size. This is no change to the catalogue."""
    session.execute(update(CatalogueState).values(old_thumbnails_to=image_id))


def _images_by_key(session: Session, keys: list[str]) -> dict[str, Image]:
    return {image.key: image for image in session.scalars(select(Image).where(Image.key.in_(keys)))}


def _apply(session: Session, existing: dict[str, Image], put: Put, seq: int) -> tuple[Image, Status, str | None]:
    image = existing.get(put.key)
    if image is None:
        if put.properties is None:
            raise CatalogueChangedError
        image = Image(key=put.key, label=None, metadata_={}, seq=seq, **vars(put.properties))
        _describe(image, put.patch)
        existing[put.key] = image
        session.add(image)
        return image, "created", None
    before = image.sha256
    if put.properties is None and put.sha256 != before:
        raise CatalogueChangedError
    changed = _describe(image, put.patch)
    if put.properties is not None and put.properties.sha256 != before:
        for name, value in vars(put.properties).items():
            setattr(image, name, value)
        image.seq = seq
        return image, "updated", before
    if not changed:
        return image, "unchanged", None
    image.seq = seq
    return image, "updated", None


def _describe(image: Image, metadata_patch: MetadataPatch) -> bool:
    """Set label and metadata; return whether anything changed. Fields that are null are not stored."""
    metadata_patch = nfc_json(metadata_patch)
    label, before = metadata_patch.get("label", image.label), normalise_metadata(image.metadata_)
    metadata = normalise_metadata(metadata_patch.get("metadata", before))
    # Compare as JSON: in Python, and for SQLAlchemy, 1 equals True.
    changed = label != image.label or _json(metadata) != _json(before)
    if changed:
        image.label, image.metadata_ = label, metadata
        flag_modified(image, "metadata_")
    return changed


def _json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True)
