"""Encodings of images in index versions: slots of F7, and codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, delete, func, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.catalogue.database.tables import CatalogueState, Encoding, FeatureSet, Image, IndexVersion, TrashedEncoding
from app.catalogue.filters.sql import Condition
from app.catalogue.index_versions import active_version_id
from app.catalogue.selection import among_ids
from app.catalogue.sequence import lock_catalogue, next_seq

_DELETE_OUTDATED = text(
    "DELETE FROM encodings old USING index_versions own, index_versions other "
    "WHERE own.id = :version AND other.feature_set_id = own.feature_set_id AND other.id <> own.id "
    "AND old.index_version_id = other.id AND old.image_id = ANY(CAST(:ids AS bigint[])) AND NOT EXISTS (SELECT FROM "
    "encodings new WHERE new.index_version_id = own.id AND new.image_id = old.image_id AND new.slot = old.slot)"
)


@dataclass(frozen=True)
class NewEncoding:
    """A new encoding, stored at `slot`; visible in Milvus from `milvus_timestamp` on, 0 without Milvus."""

    slot: int
    code: bytes
    checksum: int
    milvus_timestamp: int = 0


@dataclass(frozen=True)
class StoredSlot:
    """Where the F7 of an image is stored, and its checksum."""

    slot: int
    checksum: int


@dataclass(frozen=True)
class SlotCodes:
    """Codes of F7 at slots, `(n, bits / 8)`, with the images' ids `(n,)` and slots `(n,)`; see `NewEncoding`."""

    ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    codes: NDArray[np.uint8]
    milvus_timestamp: int = 0


_ADD_CODES = text(
    "INSERT INTO encodings (index_version_id, image_id, slot, code, checksum, seq) "
    "SELECT :target, new.image_id, new.slot, new.code, old.checksum, :seq "
    "FROM unnest(CAST(:ids AS bigint[]), CAST(:slots AS bigint[]), CAST(:codes AS bytea[])) "
    "AS new(image_id, slot, code) "
    "JOIN encodings old ON old.index_version_id = :source AND old.image_id = new.image_id AND old.slot = new.slot "
    "ON CONFLICT (index_version_id, image_id) DO NOTHING"
)


def reserve_slots(session: Session, index_version_id: int, count: int) -> NDArray[np.int64]:
    """Reserve unused slots of an index version's feature set; return them `(count,)`."""
    owner = select(IndexVersion.feature_set_id).where(IndexVersion.id == index_version_id).scalar_subquery()
    taken = (
        update(FeatureSet)
        .where(FeatureSet.id == owner)
        .values(next_slot=FeatureSet.next_slot + count)
        .returning(FeatureSet.next_slot)
    )
    end = session.execute(taken).scalar_one()
    return np.arange(end - count, end, dtype=np.int64)


def put_encodings(session: Session, index_version_id: int, encodings: Sequence[tuple[Image, NewEncoding]]) -> None:
    """Add or replace encodings of existing images; skip images that were deleted or replaced.

    In a version that is not active, images whose F7 the feature set has at another slot are skipped too.
    """
    seq, _ = next_seq(session)
    ids = [image.id for image, _ in encodings]
    found = session.execute(select(Image.id, Image.sha256).where(Image.id.in_(ids)))
    now = {row.id: row.sha256 for row in found}
    current = {image.id: new for image, new in encodings if now.get(image.id) == image.sha256}
    if active_version_id(session) != index_version_id:
        for image_id, slot in session.execute(_sibling_slots(index_version_id, list(current))):
            if image_id in current and current[image_id].slot != slot:
                del current[image_id]
    save_encodings(session, index_version_id, seq, list(current.items()))


def sibling_slots(session: Session, index_version_id: int, image_ids: Sequence[int]) -> dict[int, StoredSlot]:
    """Return where other versions of the feature set have the F7 of images, by image id."""
    rows = session.execute(_sibling_slots(index_version_id, image_ids).add_columns(Encoding.checksum))
    return {image_id: StoredSlot(slot, checksum) for image_id, slot, checksum in rows}


def _sibling_slots(index_version_id: int, image_ids: Sequence[int]) -> Select[int, int]:
    siblings = _siblings(index_version_id)
    return select(Encoding.image_id, Encoding.slot).where(
        Encoding.index_version_id.in_(siblings), Encoding.image_id.in_(image_ids)
    )


def _siblings(index_version_id: int) -> Select[int]:
    """Select the ids of the other versions of a version's feature set."""
    own = select(IndexVersion.feature_set_id).where(IndexVersion.id == index_version_id).scalar_subquery()
    return select(IndexVersion.id).where(IndexVersion.feature_set_id == own, IndexVersion.id != index_version_id)


def add_codes(session: Session, source: int, target: int, codes: SlotCodes) -> None:
    """Add codes to the version `target` for F7 that the version `source` of the same feature set refers to.

    Images that were deleted or replaced, or whose F7 has moved to another slot, are skipped.
    """
    seq, _ = next_seq(session)
    session.execute(
        _ADD_CODES,
        {
            "source": source,
            "target": target,
            "seq": seq,
            "ids": codes.ids.tolist(),
            "slots": codes.slots.tolist(),
            "codes": [code.tobytes() for code in codes.codes],
        },
    )
    session.execute(
        update(CatalogueState).values(
            milvus_timestamp=func.greatest(CatalogueState.milvus_timestamp, codes.milvus_timestamp)
        )
    )


def delete_encodings(session: Session, image_ids: Sequence[int]) -> None:
    """Delete the encodings of images in all index versions."""
    if image_ids:
        session.execute(delete(Encoding).where(Encoding.image_id.in_(image_ids)))


def save_encodings(
    session: Session, index_version_id: int, seq: int, encodings: Sequence[tuple[int, NewEncoding]]
) -> None:
    """Insert or replace encodings of images, by id.

    Where an image's slot changes, other versions of the feature set lose its code, which belongs to the old slot. They
    get it back when they are filled.
    """
    # The last one wins if a key occurs twice: PostgreSQL cannot update a row twice in one statement.
    rows = {
        image_id: {
            "index_version_id": index_version_id,
            "image_id": image_id,
            "seq": seq,
            "slot": new.slot,
            "code": new.code,
            "checksum": new.checksum,
        }
        for image_id, new in encodings
    }
    if not rows:
        return
    timestamp = max(new.milvus_timestamp for _, new in encodings)
    session.execute(
        update(CatalogueState).values(milvus_timestamp=func.greatest(CatalogueState.milvus_timestamp, timestamp))
    )
    upsert = postgresql.insert(Encoding).values(list(rows.values()))
    names = ("slot", "code", "checksum", "seq")
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["index_version_id", "image_id"],
            set_={name: upsert.excluded[name] for name in names},
        )
    )
    session.execute(_DELETE_OUTDATED, {"version": index_version_id, "ids": list(rows)})


def encodings_of_features(session: Session, index_version_id: int, ids: Sequence[int]) -> dict[int, TrashedEncoding]:
    """Return encodings of images in the trash by id: of an index version, else of another of its feature set."""
    rows = session.scalars(
        select(TrashedEncoding)
        .where(among_ids(TrashedEncoding.image_id, ids), has_features_of(index_version_id))
        .order_by(TrashedEncoding.index_version_id == index_version_id)
    )
    return {encoding.image_id: encoding for encoding in rows}


def delete_encodings_of_features(session: Session, index_version_id: int, ids: Sequence[int]) -> None:
    """Delete the encodings of images in the trash in all versions of an index version's feature set."""
    lock_catalogue(session)
    of_images = among_ids(TrashedEncoding.image_id, ids), has_features_of(index_version_id)
    session.execute(delete(TrashedEncoding).where(*of_images))


def has_features_of(index_version_id: int) -> Condition:
    """Build the condition that an encoding is of an index version's feature set."""
    own = select(IndexVersion.feature_set_id).where(IndexVersion.id == index_version_id).scalar_subquery()
    return TrashedEncoding.index_version_id.in_(select(IndexVersion.id).where(IndexVersion.feature_set_id == own))
