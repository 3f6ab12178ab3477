"""Map vector slots to image ids, for an index that stores only slots (Milvus)."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, ColumnElement, any_, bindparam, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.catalogue.database import columnar_fetch
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, IndexVersion
from app.catalogue.index_sync import fetch_encodings
from app.search.types import Ids, IndexEntries


class SlotMap:
    """Current slots of one index version, read from the database on each call."""

    def __init__(self, database: Database, index_version_id: int, bits: int) -> None:
        self._database, self._index_version_id, self._code_bytes = database, index_version_id, bits // 8

    def image_ids(self, slots: NDArray[np.int64]) -> Ids:
        """Return the ids `(n,)` of the images at slots `(n,)`; -1 for an empty slot."""
        ids = np.full(len(slots), -1, np.int64)
        if len(slots):
            with self._database.read_session() as session:
                taken, ids_at = self._taken(session, slots)
            rows = np.minimum(np.searchsorted(taken, slots), max(len(taken) - 1, 0))
            if len(taken):
                ids = np.where(taken[rows] == slots, ids_at[rows], -1)
        return ids

    def entries(self, ids: Ids) -> IndexEntries:
        """Return the current encodings of images; deleted images are left out."""
        with self._database.read_session() as session:
            return fetch_encodings(session, self._index_version_id, -1, self._code_bytes, among(Encoding.image_id, ids))

    def _taken(self, session: Session, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], Ids]:
        """Return those slots `(m,)` that are in use, ascending, and the image ids `(m,)` at them."""
        rows = columnar_fetch.fetch_columns(
            session,
            Encoding.slot,
            Encoding.index_version_id == self._index_version_id,
            among(Encoding.slot, slots),
            integers={"image_id": Encoding.image_id},
        )
        return rows["key"].astype(np.int64), rows["image_id"].astype(np.int64)


def among(column: InstrumentedAttribute[int], numbers: NDArray[np.int64]) -> ColumnElement[bool]:
    """Build an SQL condition `column = ANY(numbers)` with one array parameter."""
    array = bindparam(None, numbers.tolist(), ARRAY(BigInteger))
    return column == any_(array)


def has_encodings(session: Session, index_version_id: int) -> bool:
    """Return whether an index version has any encodings."""
    return (
        session.scalar(select(Encoding.slot).where(Encoding.index_version_id == index_version_id).limit(1)) is not None
    )


def collection_names(session: Session, index_version: IndexVersion) -> tuple[str, str]:
    """Return the names of an index version's Milvus collections: of its codes, and of its feature set's F7."""
    prefix = collection_prefix(session)
    return f"{prefix}{index_version.id}_code", f"{prefix}{index_version.feature_set_id}_f7"


def collection_prefix(session: Session) -> str:
    """Return the prefix of a catalogue's Milvus collection names, unique among catalogues that share a server.

    It names the database, so that a copied catalogue does not share collections with the original: both would hand out
    the same slots.
    """
    database = select(text("oid")).select_from(text("pg_database")).where(text("datname = current_database()"))
    cluster = select(text("system_identifier")).select_from(text("pg_control_system()"))
    return f"lookalike_{session.execute(cluster).scalar_one()}_{session.execute(database).scalar_one()}_"
