"""Whose a slot is: what an index that holds only slots asks the truth."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, ColumnElement, any_, bindparam, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.catalogue.database import columnar_fetch as bulk
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Generation
from app.catalogue.index_sync import encoded
from app.search.types import Entries, Ids


class SlotTruth:
    """The slots of one generation, as the catalogue has them when it is asked."""

    def __init__(self, database: Database, generation_id: int, bits: int) -> None:
        self._database, self._generation_id, self._code_bytes = database, generation_id, bits // 8

    def pictures(self, slots: NDArray[np.int64]) -> Ids:
        """Returns the ids of the pictures at slots `(n,)`, -1 where there is none."""
        ids = np.full(len(slots), -1, np.int64)
        if len(slots):
            with self._database.asking() as session:
                there, theirs = self._taken(session, slots)
            rows = np.minimum(np.searchsorted(there, slots), max(len(there) - 1, 0))
            if len(there):
                ids = np.where(there[rows] == slots, theirs[rows], -1)
        return ids

    def entries(self, ids: Ids) -> Entries:
        """Returns pictures as they are encoded now; those that are gone are left out."""
        with self._database.asking() as session:
            return encoded(session, self._generation_id, -1, self._code_bytes, among(Encoding.image_id, ids))

    def _taken(self, session: Session, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], Ids]:
        rows = bulk.fetch(
            session,
            Encoding.slot,
            Encoding.index_version_id == self._generation_id,
            among(Encoding.slot, slots),
            numbers={"picture_id": Encoding.image_id},
        )
        return rows["key"].astype(np.int64), rows["picture_id"].astype(np.int64)


def among(column: InstrumentedAttribute[int], numbers: NDArray[np.int64]) -> ColumnElement[bool]:
    """Says that a column has one of many numbers, which go to the database as one array."""
    array = bindparam(None, numbers.tolist(), ARRAY(BigInteger))
    return column == any_(array)


def has_encodings(session: Session, generation_id: int) -> bool:
    """Tells whether a generation has encoded anything."""
    return session.scalar(select(Encoding.slot).where(Encoding.index_version_id == generation_id).limit(1)) is not None


def collection_name(session: Session, generation: Generation) -> str:
    """Returns what a generation's collections in Milvus are called."""
    return f"{catalogue_name(session)}{generation.id}"


def catalogue_name(session: Session) -> str:
    """Returns what the names of all of a catalogue's collections begin with, where others may be too.

    A catalogue that was copied to another database counts as another: two that added to one collection would give out
    the same slots.
    """
    database = select(text("oid")).select_from(text("pg_database")).where(text("datname = current_database()"))
    cluster = select(text("system_identifier")).select_from(text("pg_control_system()"))
    return f"lookalike_{session.execute(cluster).scalar_one()}_{session.execute(database).scalar_one()}_"
