"""Questions to the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, Text, bindparam, case, cast, column, func, select, text
from sqlalchemy.orm import Session

from app.catalogue.database.tables import CatalogueState, Encoding, Generation, Picture
from app.catalogue.filters.sql import Condition
from app.errors import InvalidInputError, NotFoundError

NULL = text("'null'::jsonb")


def picture(session: Session, picture_id: int) -> Picture:
    """Returns a picture.

    Raises:
        NotFoundError: there is no such picture.
    """
    found = session.get(Picture, picture_id)
    if found is None:
        raise NotFoundError("picture", picture_id)
    return found


@dataclass(frozen=True)
class Shown:
    """What a search shows of a picture; `size` is that of its metadata as JSON, in bytes."""

    key: str
    label: str | None
    metadata: dict[str, Any]
    size: int


_SIZE = func.octet_length(cast(Picture.metadata_, Text))
# Written out once: every search asks this, and composing it costs more than asking.
_AMONG = Picture.id.in_(bindparam("ids", expanding=True))
_SHOWN = select(Picture.id, Picture.key, Picture.label, Picture.metadata_, _SIZE).where(_AMONG)
_TOTAL_SIZE = select(func.sum(_SIZE)).where(_AMONG)
# Bytes of metadata in one response, and up to how many pictures nobody need look first whether they have more.
MOST_SHOWN_BYTES, _FEW = 32_000_000, 32


def shown(connection: Connection, ids: Sequence[int]) -> dict[int, Shown]:
    """Returns what a search shows of pictures, by id; those that are not there are left out.

    Raises:
        InvalidInputError: there are many, and their metadata is too large for one response.
    """
    if not ids:
        return {}
    if len(ids) > _FEW:
        _require_showable(len(ids), connection.scalar(_TOTAL_SIZE, {"ids": ids}) or 0)
    return {picture_id: Shown(*row) for picture_id, *row in connection.execute(_SHOWN, {"ids": ids})}


def firsts(connection: Connection, ids: Sequence[int], field: str, most: int) -> list[int]:
    """Returns where the first picture of each group stands in `ids`, ascending, `most` of them at most.

    A group has the same in a field, `label` included; a picture without it, or with null there, is a group of its own.
    The database groups them: ids go there as one array, and only the places come back.
    """
    given = func.unnest(bindparam(None, list(ids), ARRAY(BigInteger)))
    numbered = given.table_valued(column("id", BigInteger), with_ordinality="place").render_derived()
    # As text, because numbers that are written differently stay apart.
    value = Picture.label if field == "label" else cast(func.nullif(Picture.metadata_[field], NULL), Text)
    alone = case((value.is_(None), numbered.c.id))
    first = func.min(numbered.c.place).label("first")
    query = select(first).select_from(numbered).join(Picture, Picture.id == numbered.c.id)
    places = connection.scalars(query.group_by(value, alone).order_by(first).limit(most))
    return [place - 1 for place in places]


def _require_showable(images: int, size: int) -> None:
    if size > MOST_SHOWN_BYTES:
        raise InvalidInputError(
            "k",
            f"the metadata of the {images:,} images found takes {size:,} bytes, and a response carries "
            f"{MOST_SHOWN_BYTES:,}; ask for fewer images",
        )


def page_sizes(session: Session, *, after: int, limit: int, passing: Condition) -> list[tuple[int, int]]:
    """Lists pictures by id, those after one id that fulfil a condition, each with its metadata's size in bytes."""
    query = select(Picture.id, _SIZE).where(Picture.id > after, passing).order_by(Picture.id).limit(limit)
    return [(picture_id, size) for picture_id, size in session.execute(query)]


def pictures(session: Session, ids: Sequence[int]) -> list[Picture]:
    """Returns pictures by id; those that are not there are left out."""
    return list(session.scalars(select(Picture).where(Picture.id.in_(ids)).order_by(Picture.id)))


def ids_after(session: Session, after: int, limit: int) -> list[int]:
    """Lists ids of pictures, those after one id."""
    return list(session.scalars(select(Picture.id).where(Picture.id > after).order_by(Picture.id).limit(limit)))


@dataclass(frozen=True)
class Known:
    """What is already there under a key, and whether this generation has encoded it."""

    sha256: str
    encoded: bool


def known_keys(session: Session, generation_id: int, keys: Sequence[str]) -> dict[str, Known]:
    """Returns what is already there under these keys."""
    found = session.execute(
        select(Picture.key, Picture.sha256, Encoding.slot)
        .outerjoin(Encoding, (Encoding.image_id == Picture.id) & (Encoding.index_version_id == generation_id))
        .where(Picture.key.in_(keys))
    )
    return {key: Known(sha256, slot is not None) for key, sha256, slot in found}


def slots(session: Session, generation_id: int, which: Condition) -> list[int]:
    """Lists where a generation keeps the encodings of pictures that fulfil a condition."""
    encoding = (Encoding.image_id == Picture.id) & (Encoding.index_version_id == generation_id)
    return list(session.scalars(select(Encoding.slot).join(Picture, encoding).where(which)))


@dataclass(frozen=True)
class Totals:
    """The catalogue in numbers; `original_bytes` counts an original once for every picture that uses it."""

    images: int
    labels: int
    original_bytes: int
    seq: int


def totals(session: Session) -> Totals:
    """Counts the catalogue."""
    images, labels, size = session.execute(
        select(func.count(Picture.id), func.count(Picture.label.distinct()), func.sum(Picture.size_bytes))
    ).one()
    return Totals(images, labels, int(size or 0), last_change(session))


def last_change(session: Session) -> int:
    """Returns the number of the last change."""
    return session.scalars(select(CatalogueState.seq)).one()


def is_empty(session: Session) -> bool:
    """Tells whether there is no picture at all."""
    return session.scalar(select(Picture.id).limit(1)) is None


def generation_in_use(session: Session) -> Generation | None:
    """Returns the generation that searches use; None in a new catalogue."""
    return session.scalar(select(Generation).join(CatalogueState, CatalogueState.index_version_id == Generation.id))
