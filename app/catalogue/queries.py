"""Read queries of the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    LargeBinary,
    Text,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.orm import Session

from app.catalogue.database.tables import CatalogueState, Encoding, Image, IndexVersion, TrashedImage
from app.catalogue.filters.sql import Condition, field_value
from app.catalogue.selection import among_ids
from app.errors import InvalidInputError, NotFoundError


def get_image(session: Session, image_id: int) -> Image:
    """Return an image.

    Raises:
        NotFoundError: there is no such image.
    """
    found = session.get(Image, image_id)
    if found is None:
        raise NotFoundError("image", image_id)
    return found


@dataclass(frozen=True)
class ImageSummary:
    """Search result fields of an image; `size` is that of its metadata as JSON, in bytes."""

    key: str
    label: str | None
    metadata: dict[str, Any]
    size: int


_SIZE = func.octet_length(cast(Image.metadata_, Text))
# Module constants: every search runs these statements, and composing one costs more than running it.
_WITH_IDS = Image.id.in_(bindparam("ids", expanding=True))
_SHOWN = select(Image.id, Image.key, Image.label, Image.metadata_, _SIZE).where(_WITH_IDS)
_TOTAL_SIZE = select(func.sum(_SIZE)).where(_WITH_IDS)
# Most bytes of metadata in one response, and the number of images up to which their size is not checked.
MAX_METADATA_BYTES, _UNCHECKED_IMAGES = 32_000_000, 32


def image_summaries(connection: Connection, ids: Sequence[int], known_bytes: int = 0) -> dict[int, ImageSummary]:
    """Return the search result fields of images by id; missing ones are left out.

    Args:
        connection: connection to the database.
        ids: ids of the images.
        known_bytes: bytes of metadata of other images in the same response.

    Raises:
        InvalidInputError: the metadata is too large for one response.
    """
    if not ids:
        return {}
    if len(ids) > _UNCHECKED_IMAGES:
        _require_size(len(ids), known_bytes + (connection.scalar(_TOTAL_SIZE, {"ids": ids}) or 0))
    return {image_id: ImageSummary(*row) for image_id, *row in connection.execute(_SHOWN, {"ids": ids})}


def first_of_group(connection: Connection, ids: Sequence[int], field: str) -> NDArray[np.int64]:
    """Return for each of `ids` the position in `ids` of the first image of its group, `(n,)`; -1 if it is deleted.

    A group shares the value of a metadata field, or of `label`; values are equal if a filter finds them equal, so 1 and
    1.0 are. An image without a value is its own group. Grouping runs in the database, with the ids as one array
    parameter.
    """
    id_array = func.unnest(bindparam(None, list(ids), ARRAY(BigInteger)))
    numbered = id_array.table_valued(column("id", BigInteger), with_ordinality="position").render_derived()
    value, position = field_value(field), numbered.c.position
    own_group = case((value.is_(None), numbered.c.id))
    first = func.min(position).over(partition_by=(value, own_group))
    joined = select(position, first.label("first")).select_from(numbered).join(Image, Image.id == numbered.c.id)
    rows = joined.subquery()
    pair = func.int8send(rows.c.position, type_=LargeBinary).op("||")(func.int8send(rows.c.first))
    packed = connection.scalar(select(func.string_agg(pair, literal(b"", LargeBinary), type_=LargeBinary)))
    pairs = np.frombuffer(packed or b"", ">i8").reshape(-1, 2) - 1
    firsts = np.full(len(ids), -1, np.int64)
    firsts[pairs[:, 0]] = pairs[:, 1]
    return firsts


def _require_size(images: int, size: int) -> None:
    if size > MAX_METADATA_BYTES:
        raise InvalidInputError(
            "k",
            f"the metadata of the {images:,} images found takes {size:,} bytes, more than the {MAX_METADATA_BYTES:,} "
            "of a response; request fewer images",
        )


def images_by_id(session: Session, ids: Sequence[int]) -> list[Image]:
    """Return images by id, in the order of the ids; missing ones are left out."""
    found = {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(ids)))}
    return [found[image_id] for image_id in ids if image_id in found]


def count_images(session: Session, passing: Condition) -> int:
    """Count the images that meet a condition."""
    return session.scalars(select(func.count()).select_from(Image).where(passing)).one()


def ids_after(session: Session, after: int, limit: int, passing: Condition | None = None) -> list[int]:
    """List the image ids after an id, of all images or of those that meet a condition."""
    query = select(Image.id).where(Image.id > after).order_by(Image.id).limit(limit)
    return list(session.scalars(query if passing is None else query.where(passing)))


def ids_by_key(session: Session, keys: Sequence[str]) -> dict[str, int]:
    """Return the ids of images by key; missing ones are left out."""
    return dict(session.execute(select(Image.key, Image.id).where(Image.key.in_(keys))).all())


@dataclass(frozen=True)
class StoredImage:
    """The image stored under a key, and whether an index version has its encoding."""

    sha256: str
    encoded: bool


def images_by_key(session: Session, index_version_id: int, keys: Sequence[str]) -> dict[str, StoredImage]:
    """Return the images stored under these keys, by key."""
    found = session.execute(
        select(Image.key, Image.sha256, Encoding.slot)
        .outerjoin(Encoding, (Encoding.image_id == Image.id) & (Encoding.index_version_id == index_version_id))
        .where(Image.key.in_(keys))
    )
    return {key: StoredImage(sha256, slot is not None) for key, sha256, slot in found}


@dataclass(frozen=True)
class OriginalSize:
    """The hash of an image's original, and its size in pixels, upright."""

    sha256: str
    width: int
    height: int


def original_sizes(connection: Connection, ids: Sequence[int]) -> dict[int, OriginalSize]:
    """Return the originals of images by id; missing ones are left out."""
    query = select(Image.id, Image.sha256, Image.width, Image.height).where(among_ids(Image.id, ids))
    rows = connection.execute(query)
    return {image_id: OriginalSize(sha256, width, height) for image_id, sha256, width, height in rows}


def slots_where(session: Session, index_version_id: int, which: Condition) -> list[int]:
    """List the slots of an index version's encodings of images that meet a condition."""
    encoding = (Encoding.image_id == Image.id) & (Encoding.index_version_id == index_version_id)
    return list(session.scalars(select(Encoding.slot).join(Image, encoding).where(which)))


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
        select(func.count(Image.id), func.count(Image.label.distinct()), func.sum(Image.size_bytes))
    ).one()
    return Totals(images, labels, int(size or 0), last_seq(session))


def last_seq(session: Session) -> int:
    """Return the `seq` of the last change."""
    return session.scalars(select(CatalogueState.seq)).one()


def old_thumbnails_to(session: Session) -> int:
    """Return the largest id of an image that may have a thumbnail of an earlier size; 0 if there are none."""
    return session.scalars(select(CatalogueState.old_thumbnails_to)).one()


def images_with_old_thumbnails(session: Session, limit: int) -> list[tuple[int, str]]:
    """List (id, SHA-256) of images that may have a thumbnail of an earlier size, the newest first."""
    query = select(Image.id, Image.sha256).where(Image.id <= select(CatalogueState.old_thumbnails_to).scalar_subquery())
    return [(image_id, sha256) for image_id, sha256 in session.execute(query.order_by(Image.id.desc()).limit(limit))]


def is_empty(session: Session) -> bool:
    """Return whether the catalogue has no images, not even in the trash."""
    return all(session.scalar(select(table.key).limit(1)) is None for table in (Image, TrashedImage))


def active_index_version(session: Session) -> IndexVersion | None:
    """Return the active index version; None in a new catalogue."""
    return session.scalar(select(IndexVersion).join(CatalogueState, CatalogueState.index_version_id == IndexVersion.id))
