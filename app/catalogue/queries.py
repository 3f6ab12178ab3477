"""Read queries of the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, Text, bindparam, case, cast, column, func, select, text
from sqlalchemy.orm import Session

from app.catalogue.database.tables import CatalogueState, Encoding, Generation, Picture
from app.catalogue.filters.sql import Condition
from app.errors import InvalidInputError, NotFoundError

_JSON_NULL = text("'null'::jsonb")


def picture(session: Session, image_id: int) -> Picture:
    """Return an image.

    Raises:
        NotFoundError: there is no such image.
    """
    found = session.get(Picture, image_id)
    if found is None:
        raise NotFoundError("image", image_id)
    return found


@dataclass(frozen=True)
class Shown:
    """Search result fields of an image; `size` is that of its metadata as JSON, in bytes."""

    key: str
    label: str | None
    metadata: dict[str, Any]
    size: int


_SIZE = func.octet_length(cast(Picture.metadata_, Text))
# Module constants: every search runs these statements, and composing one costs more than running it.
_WITH_IDS = Picture.id.in_(bindparam("ids", expanding=True))
_SHOWN = select(Picture.id, Picture.key, Picture.label, Picture.metadata_, _SIZE).where(_WITH_IDS)
_TOTAL_SIZE = select(func.sum(_SIZE)).where(_WITH_IDS)
# Most bytes of metadata in one response, and the number of images up to which their size is not checked.
MOST_SHOWN_BYTES, _UNCHECKED_IMAGES = 32_000_000, 32


def shown(connection: Connection, ids: Sequence[int]) -> dict[int, Shown]:
    """Return the search result fields of images by id; missing ones are left out.

    Raises:
        InvalidInputError: the metadata is too large for one response.
    """
    if not ids:
        return {}
    if len(ids) > _UNCHECKED_IMAGES:
        _require_size(len(ids), connection.scalar(_TOTAL_SIZE, {"ids": ids}) or 0)
    return {image_id: Shown(*row) for image_id, *row in connection.execute(_SHOWN, {"ids": ids})}


def firsts(connection: Connection, ids: Sequence[int], field: str, most: int) -> list[int]:
    """Return the positions in `ids` of the first image of each group, ascending, at most `most`.

    A group shares the value of a metadata field or of `label`; an image without a value, or with null, is its own
    group. Grouping runs in the database, with the ids as one array parameter.
    """
    id_array = func.unnest(bindparam(None, list(ids), ARRAY(BigInteger)))
    numbered = id_array.table_valued(column("id", BigInteger), with_ordinality="position").render_derived()
    # As text, so that 1 and 1.0 are different values.
    value = Picture.label if field == "label" else cast(func.nullif(Picture.metadata_[field], _JSON_NULL), Text)
    own_group = case((value.is_(None), numbered.c.id))
    first = func.min(numbered.c.position).label("first")
    query = select(first).select_from(numbered).join(Picture, Picture.id == numbered.c.id)
    positions = connection.scalars(query.group_by(value, own_group).order_by(first).limit(most))
    return [position - 1 for position in positions]


def _require_size(images: int, size: int) -> None:
    if size > MOST_SHOWN_BYTES:
        raise InvalidInputError(
            "k",
            f"the metadata of the {images:,} images found takes {size:,} bytes, more than the {MOST_SHOWN_BYTES:,} of "
            "a response; request fewer images",
        )


def page_sizes(session: Session, *, after: int, limit: int, passing: Condition) -> list[tuple[int, int]]:
    """List (id, metadata size in bytes) of the images after an id that meet a condition, by id."""
    query = select(Picture.id, _SIZE).where(Picture.id > after, passing).order_by(Picture.id).limit(limit)
    return [(image_id, size) for image_id, size in session.execute(query)]


def pictures(session: Session, ids: Sequence[int]) -> list[Picture]:
    """Return images by id; missing ones are left out."""
    return list(session.scalars(select(Picture).where(Picture.id.in_(ids)).order_by(Picture.id)))


def ids_after(session: Session, after: int, limit: int) -> list[int]:
    """List the image ids after an id."""
    return list(session.scalars(select(Picture.id).where(Picture.id > after).order_by(Picture.id).limit(limit)))


@dataclass(frozen=True)
class StoredImage:
    """The image stored under a key, and whether an index version has its encoding."""

    sha256: str
    encoded: bool


def known_keys(session: Session, index_version_id: int, keys: Sequence[str]) -> dict[str, StoredImage]:
    """Return the images stored under these keys, by key."""
    found = session.execute(
        select(Picture.key, Picture.sha256, Encoding.slot)
        .outerjoin(Encoding, (Encoding.image_id == Picture.id) & (Encoding.index_version_id == index_version_id))
        .where(Picture.key.in_(keys))
    )
    return {key: StoredImage(sha256, slot is not None) for key, sha256, slot in found}


def slots(session: Session, index_version_id: int, which: Condition) -> list[int]:
    """List the slots of an index version's encodings of images that meet a condition."""
    encoding = (Encoding.image_id == Picture.id) & (Encoding.index_version_id == index_version_id)
    return list(session.scalars(select(Encoding.slot).join(Picture, encoding).where(which)))


@dataclass(frozen=True)
class Totals:
    """Catalogue statistics; `original_bytes` counts an original once for each image that uses it."""

    images: int
    labels: int
    original_bytes: int
    seq: int


def totals(session: Session) -> Totals:
    """Compute the catalogue statistics."""
    images, labels, size = session.execute(
        select(func.count(Picture.id), func.count(Picture.label.distinct()), func.sum(Picture.size_bytes))
    ).one()
    return Totals(images, labels, int(size or 0), last_change(session))


def last_change(session: Session) -> int:
    """Return the `seq` of the last change."""
    return session.scalars(select(CatalogueState.seq)).one()


def is_empty(session: Session) -> bool:
    """Return whether the catalogue has no images."""
    return session.scalar(select(Picture.id).limit(1)) is None


def generation_in_use(session: Session) -> Generation | None:
    """Return the active index version; None in a new catalogue."""
    return session.scalar(select(Generation).join(CatalogueState, CatalogueState.index_version_id == Generation.id))
