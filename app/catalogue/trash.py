"""The trash: deleted images that can be restored, exactly as they were.

A deletion moves an image's row and its encodings to tables that no search, list or count reads. Its files and its slot
of F7 stay in use, so restoring moves the rows back and decodes nothing, unless the catalogue has switched to another
index version meanwhile. A restored image has its id again; `seq` makes every process see it as new.

Purging removes rows from the trash; the caller then deletes files and frees slots.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, Text, cast, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import InstrumentedAttribute

from app.catalogue.database.tables import (
    CatalogueState,
    Deletion,
    Encoding,
    Image,
    TrashedEncoding,
    TrashedImage,
)
from app.catalogue.duplicates.distinct_pairs import remove_pairs_of
from app.catalogue.encodings import NewEncoding, StoredSlot, has_features_of, save_encodings
from app.catalogue.filters.sql import Condition
from app.catalogue.selection import MAX_SELECTED, Selection, among_ids, select_images
from app.catalogue.sequence import lock_catalogue, next_seq
from app.errors import InvalidInputError, KeysInUseError, ModelSwitchedError, NotInTrashError

# Columns that an image keeps in the trash; it gets a new `seq` when it is restored.
_KEPT = (
    "key",
    "sha256",
    "media_type",
    "width",
    "height",
    "size_bytes",
    "label",
    "metadata_",
    "created_at",
    "updated_at",
)
_ENCODING = ("index_version_id", "image_id", "slot", "code", "checksum")
# When images were deleted that expire at once: longer ago than any setting keeps them.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# Maximum number of used keys that an error lists.
_MAX_NAMED = 100


@dataclass(frozen=True)
class TrashSelection:
    """Which images in the trash: these ids, those of one deletion, or all of them; expired ones never count.

    Attributes:
        days: for how long images are kept.
    """

    days: float
    ids: Collection[int] | None = None
    deletion_id: int | None = None

    @property
    def condition(self) -> Condition:
        """The condition in SQL."""
        kept = ~expired(self.days)
        if self.ids is not None:
            return kept & among_ids(TrashedImage.image_id, self.ids)
        return kept if self.deletion_id is None else kept & (TrashedImage.deletion_id == self.deletion_id)


@dataclass(frozen=True)
class Unencoded:
    """An image in the trash without a code in an index version; `stored` is its F7 if the feature set has it."""

    image: Image
    stored: StoredSlot | None


@dataclass(frozen=True)
class Purged:
    """Images removed from the trash: their number, and what may have become unused."""

    images: int
    hashes: set[str]
    slots: list[int]


def expired(days: float) -> Condition:
    """Build the condition that an image in the trash is older than some days."""
    return TrashedImage.deleted_at <= func.now() - literal(timedelta(days=days))


def expires_at(image: TrashedImage, days: float) -> datetime:
    """Return when an image that is kept for some days expires."""
    return image.deleted_at + timedelta(days=days)


def delete_images(session: Session, selection: Selection, expected: int) -> tuple[int, list[int]]:
    """Move images to the trash as one change; return its `seq`, which is the deletion's id, and the images' ids.

    Raises:
        InvalidInputError, SelectionChangedError: see `select_images`.
    """
    seq, _ = next_seq(session)
    ids = select_images(session, selection, expected)
    images = select(Image.id, literal(seq), func.now(), *_columns(Image)).where(among_ids(Image.id, ids))
    names = ["image_id", "deletion_id", "deleted_at", *(column.name for column in _columns(TrashedImage))]
    session.execute(insert(TrashedImage).from_select(names, images))
    of_images = select(*(getattr(Encoding, name) for name in _ENCODING)).where(among_ids(Encoding.image_id, ids))
    session.execute(insert(TrashedEncoding).from_select(_ENCODING, of_images))
    session.execute(delete(Image).where(among_ids(Image.id, ids)))
    # Catalogues restored by early versions reused the ids of deleted images.
    gone = postgresql.insert(Deletion).from_select(
        ["image_id", "seq"], select(func.unnest(literal(ids, postgresql.ARRAY(Deletion.image_id.type))), literal(seq))
    )
    session.execute(gone.on_conflict_do_update(index_elements=[Deletion.image_id], set_={"seq": seq}))
    return seq, ids


def unencoded(session: Session, index_version_id: int, which: TrashSelection) -> list[Unencoded]:
    """List the images in the trash that an index version has no code for: the catalogue has switched meanwhile."""
    has_code = exists().where(
        TrashedEncoding.image_id == TrashedImage.image_id, TrashedEncoding.index_version_id == index_version_id
    )
    of_set = (
        select(TrashedEncoding.image_id, func.min(TrashedEncoding.slot), func.min(TrashedEncoding.checksum))
        .where(has_features_of(index_version_id))
        .group_by(TrashedEncoding.image_id)
    )
    images = session.execute(
        select(TrashedImage.image_id, TrashedImage.key, TrashedImage.sha256)
        .where(which.condition, ~has_code)
        .order_by(TrashedImage.image_id)
        .limit(MAX_SELECTED)
    ).all()
    ids = [image_id for image_id, _, _ in images]
    slots = {
        image_id: StoredSlot(slot, checksum)
        for image_id, slot, checksum in session.execute(of_set.where(among_ids(TrashedEncoding.image_id, ids)))
    }
    return [
        Unencoded(Image(id=image_id, key=key, sha256=sha256), slots.get(image_id)) for image_id, key, sha256 in images
    ]


def restore_images(
    session: Session,
    index_version_id: int,
    which: TrashSelection,
    encodings: Sequence[tuple[int, NewEncoding]],
    *,
    skip_used_keys: bool,
) -> tuple[list[int], int]:
    """Restore images from the trash as one change; return their ids, and the number of those skipped.

    Args:
        session: a transaction.
        index_version_id: the active index version.
        which: the images.
        encodings: by id, of those that `unencoded` lists.
        skip_used_keys: leave images in the trash whose key another image has now.

    Raises:
        ModelSwitchedError: the catalogue has switched to another index version.
        NotInTrashError: an image is not in the trash.
        InvalidInputError: they are more than `MAX_SELECTED`.
        KeysInUseError: another image has a key now, and `skip_used_keys` is not set.
    """
    seq, in_use = next_seq(session)
    if in_use != index_version_id:
        raise ModelSwitchedError(in_use)
    wanted = list(session.scalars(_ids(which).limit(MAX_SELECTED + 1)))
    if len(wanted) > MAX_SELECTED:
        raise InvalidInputError("deletion_id", f"is of more than {MAX_SELECTED:,} images. Restore them by their ids")
    if not wanted or (which.ids is not None and len(wanted) < len(set(which.ids))):
        raise NotInTrashError(sorted(set(which.ids or ()) - set(wanted)), which.deletion_id, which.days)
    used = _used_keys(session, wanted)
    if used and not skip_used_keys:
        raise KeysInUseError(dict(list(used.items())[:_MAX_NAMED]), len(used))
    ids = [image_id for image_id in wanted if image_id not in used]
    _move_back(session, seq, ids)
    restored = set(ids)
    save_encodings(
        session, index_version_id, seq, [(image_id, new) for image_id, new in encodings if image_id in restored]
    )
    session.execute(update(CatalogueState).values(restored_seq=seq))
    return ids, len(used)


def purge_images(session: Session, index_version_id: int, which: Condition, limit: int) -> Purged:
    """Remove up to `limit` images that meet a condition from the trash for good, the first deleted first."""
    lock_catalogue(session)
    oldest = select(TrashedImage.image_id).where(which).order_by(TrashedImage.deleted_at, TrashedImage.image_id)
    ids = list(session.scalars(oldest.limit(limit)))
    of_images = among_ids(TrashedEncoding.image_id, ids), has_features_of(index_version_id)
    slots = list(session.scalars(select(TrashedEncoding.slot).where(*of_images).distinct()))
    removed = delete(TrashedImage).where(among_ids(TrashedImage.image_id, ids)).returning(TrashedImage.sha256)
    remove_pairs_of(session, ids)
    return Purged(len(ids), set(session.scalars(removed)), slots)


def mark_expired(session: Session) -> int:
    """Let all images in the trash expire; return how many had not. The next purge removes them."""
    moved = update(TrashedImage).where(TrashedImage.deleted_at > _LONG_AGO).values(deleted_at=_LONG_AGO)
    return len(session.execute(moved.returning(TrashedImage.image_id)).all())


def sizes_after(
    session: Session, which: TrashSelection, after: tuple[int, int] | None, limit: int
) -> list[tuple[int, int, int]]:
    """List (deletion id, image id, metadata size in bytes), the last deletion first, within a deletion by image id.

    Args:
        session: reads the catalogue.
        which: which images.
        after: deletion and image id after which the list begins.
        limit: maximum number of images.
    """
    size = func.octet_length(cast(TrashedImage.metadata_, Text))
    query = select(TrashedImage.deletion_id, TrashedImage.image_id, size).where(which.condition)
    if after is not None:
        deletion_id, image_id = after
        same = (TrashedImage.deletion_id == deletion_id) & (TrashedImage.image_id > image_id)
        query = query.where(or_(TrashedImage.deletion_id < deletion_id, same))
    newest_first = query.order_by(TrashedImage.deletion_id.desc(), TrashedImage.image_id).limit(limit)
    return [(deletion, image_id, length) for deletion, image_id, length in session.execute(newest_first)]


def trashed_images(session: Session, ids: Sequence[int]) -> list[TrashedImage]:
    """Return images in the trash by id, in the order of `sizes_after`; missing ones are left out."""
    query = select(TrashedImage).where(among_ids(TrashedImage.image_id, ids))
    return list(session.scalars(query.order_by(TrashedImage.deletion_id.desc(), TrashedImage.image_id)))


def has_expired(session: Session, days: float) -> bool:
    """Return whether `purge_images` has anything to do."""
    return bool(session.scalar(select(exists().where(expired(days)))))


def used_slots(session: Session, index_version_id: int, slots: Sequence[int]) -> set[int]:
    """Return those of some slots at which images in the trash have their F7, of an index version's feature set."""
    query = select(TrashedEncoding.slot).where(
        among_ids(TrashedEncoding.slot, slots), has_features_of(index_version_id)
    )
    return set(session.scalars(query))


def _ids(which: TrashSelection) -> Select[int]:
    return select(TrashedImage.image_id).where(which.condition).order_by(TrashedImage.image_id)


def _used_keys(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """Return the keys, by id, that another image has now, or a later deleted one of the same ids."""
    # A window instead of a self-join, which would compare each image with each.
    last = func.max(TrashedImage.deletion_id).over(partition_by=TrashedImage.key)
    mine = (
        select(TrashedImage.image_id, TrashedImage.key, (TrashedImage.deletion_id < last).label("deleted_before"))
        .where(among_ids(TrashedImage.image_id, ids))
        .subquery()
    )
    in_catalogue = exists().where(Image.key == mine.c.key)
    rows = session.execute(
        select(mine.c.image_id, mine.c.key).where(or_(mine.c.deleted_before, in_catalogue)).order_by(mine.c.image_id)
    )
    return dict(rows.all())


def _move_back(session: Session, seq: int, ids: Sequence[int]) -> None:
    """Move rows of images and encodings back, as a change with this `seq`."""
    images = select(TrashedImage.image_id, literal(seq), *_columns(TrashedImage)).where(
        among_ids(TrashedImage.image_id, ids)
    )
    names = ["id", "seq", *(column.name for column in _columns(Image))]
    session.execute(insert(Image).from_select(names, images))
    back = select(*(getattr(TrashedEncoding, name) for name in _ENCODING), literal(seq)).where(
        among_ids(TrashedEncoding.image_id, ids)
    )
    session.execute(insert(Encoding).from_select([*_ENCODING, "seq"], back))
    session.execute(delete(TrashedImage).where(among_ids(TrashedImage.image_id, ids)))
    session.execute(delete(Deletion).where(among_ids(Deletion.image_id, ids)))


def _columns(table: type[Image] | type[TrashedImage]) -> list[InstrumentedAttribute[Any]]:
    return [getattr(table, name) for name in _KEPT]
