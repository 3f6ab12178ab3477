"""Keeps this process's index in step with the truth.

Every process holds its own index. Before a search it reads the catalogue's `seq`, and where that is ahead it
applies what lies between: so whatever was acknowledged by any process is found by every later search in every
process.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.catalogue import queries
from app.catalogue.database import Database
from app.catalogue.tables import CatalogueState, Deletion, Encoding, Picture
from app.errors import UnavailableError
from app.search.coarse import Ids
from app.search.index import Index
from app.search.types import Entries, SearchOptions

_ROWS_AT_A_TIME = 50_000

EncodingRow = Row[int, int, bytes, int]


class Follower:
    """The catalogue as searches see it; `seq` is the last change that the index has."""

    def __init__(self, database: Database, index: Index, generation_id: int) -> None:
        self._database, self._index, self._generation_id = database, index, generation_id
        self._applying = threading.Lock()
        self.seq = -1

    def current(self) -> Index:
        """Returns the index with every change that was committed before this call.

        Raises:
            UnavailableError: the database cannot be asked, or the catalogue has moved to another network.
        """
        if self._latest() > self.seq:
            self._catch_up()
        return self._index

    def matching(self, options: SearchOptions) -> Ids | None:
        """Returns the ids that the options' filters let through, ascending; None for all."""
        if options.label is None:
            return None
        with self._database.asking() as session:
            return queries.ids_with_label(session, options.label)

    def rows(self, ids: Sequence[int]) -> Mapping[int, Picture]:
        """Returns what is known of these pictures; deleted ones are left out."""
        with self._database.asking() as session:
            return queries.pictures(session, ids)

    def _latest(self) -> int:
        with self._database.asking() as session:
            return self._state(session)

    def _catch_up(self) -> None:
        with self._applying, self._database.snapshot() as session:
            latest = self._state(session)
            if latest <= self.seq:
                return
            if self.seq >= 0:
                self._index.remove(_deleted(session, self.seq))
            for entries in _encoded(session, self._generation_id, self.seq):
                self._index.add(entries)
            self.seq = latest

    def _state(self, session: Session) -> int:
        seq, generation_id = session.execute(select(CatalogueState.seq, CatalogueState.generation_id)).one()
        if generation_id != self._generation_id:
            raise UnavailableError("The catalogue now uses another network. Restart the service to use it.")
        latest: int = seq
        return latest


def _deleted(session: Session, after: int) -> Ids:
    found = session.scalars(select(Deletion.picture_id).where(Deletion.seq > after).order_by(Deletion.picture_id))
    return np.fromiter(found, np.int64)


def _encoded(session: Session, generation_id: int, after: int) -> Iterator[Entries]:
    query = (
        select(Encoding.picture_id, Encoding.slot, Encoding.code, Encoding.checksum)
        .where(Encoding.generation_id == generation_id, Encoding.seq > after)
        .order_by(Encoding.picture_id)
        .execution_options(yield_per=_ROWS_AT_A_TIME)
    )
    for rows in session.execute(query).partitions():
        yield _entries(rows)


def _entries(rows: Sequence[EncodingRow]) -> Entries:
    ids, slots, codes, checksums = zip(*rows, strict=True)
    return Entries(
        ids=np.array(ids, np.int64),
        codes=np.frombuffer(b"".join(codes), np.uint8).reshape(len(rows), -1),
        slots=np.array(slots, np.int64),
        checksums=np.array(checksums, np.uint32),
    )
