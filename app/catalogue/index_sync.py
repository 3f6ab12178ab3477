"""Keeps this process's index in step with the truth.

Every process holds its own index. Before a search it reads the catalogue's `seq`, and where that is ahead it
applies what lies between: so whatever was acknowledged by any process is found by every later search in every
process.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.orm import Session

from app.catalogue.database import columnar_fetch as bulk
from app.catalogue.database.priority import Priority, priority
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState, Deletion, Encoding, Picture
from app.catalogue.filters.matching import FILTER_BYTES, Filters
from app.catalogue.queries import Shown, firsts, shown
from app.errors import CatalogueMovedError
from app.search.index import Index
from app.search.types import Entries, Ids, SearchOptions, Subset

_STATE = select(CatalogueState.seq, CatalogueState.milvus_timestamp, CatalogueState.index_version_id)


class Follower:
    """The catalogue as searches see it; `seq` is the last change that the index has.

    `ahead` of the catalogue's move to its generation it follows what is there already, until it takes over.
    `filter_bytes` bounds what it remembers of filters.
    """

    def __init__(
        self,
        database: Database,
        index: Index,
        generation_id: int,
        bits: int,
        *,
        ahead: bool = False,
        filter_bytes: int = FILTER_BYTES,
    ) -> None:
        self._database, self._index, self._generation_id, self._bits = database, index, generation_id, bits
        self._ahead = ahead
        self._filters = Filters(filter_bytes, index.bytes_beside)
        self._applying = threading.Lock()
        self.seq = -1

    def current(self) -> Index:
        """Returns the index with every change that was committed before this call.

        Raises:
            UnavailableError: the database cannot be asked.
            CatalogueMovedError: the catalogue has moved to another network.
        """
        with priority(Priority.PROMPT):
            if self._latest() > self.seq:
                self._catch_up()
        return self._index

    def take_over(self) -> None:
        """Answers from now on, and only while the catalogue uses its generation."""
        self._ahead = False

    def matching(self, options: SearchOptions) -> Subset | None:
        """Returns the pictures that the options' filters let through; None for all."""
        return self._filters.subset(self._database, options, self.seq)

    def firsts(self, ids: Sequence[int], field: str, most: int) -> Sequence[int]:
        """Returns where the first picture of each group stands in `ids`; deleted ones are left out."""
        with self._database.asking_in_sql() as connection:
            return firsts(connection, ids, field, most)

    def rows(self, ids: Sequence[int]) -> Mapping[int, Shown]:
        """Returns what is known of these pictures; deleted ones are left out."""
        with self._database.asking_in_sql() as connection:
            return shown(connection, ids)

    def _latest(self) -> int:
        with self._database.asking_in_sql() as connection:
            return self._state(connection)[0]

    def _catch_up(self) -> None:
        with self._applying, self._database.snapshot() as session:
            latest, moment = self._state(session)
            if latest <= self.seq:
                return
            self._index.follow(Since(session, self._generation_id, self.seq, self._bits // 8, moment))
            self.seq = latest

    def _state(self, asked: Connection | Session) -> tuple[int, int]:
        """Returns the last change, and the moment from which the index has everything up to it."""
        seq, moment, generation_id = asked.execute(_STATE).one()
        if generation_id != self._generation_id and not self._ahead:
            raise CatalogueMovedError(generation_id)
        return int(seq), int(moment)


@dataclass(frozen=True)
class Since:
    """What has changed after a `seq`, from -1 on everything; `session` sees one moment."""

    session: Session
    generation_id: int
    seq: int
    code_bytes: int
    moment: int

    def deleted(self) -> Ids:
        """Returns the pictures that are gone; none where nobody can have heard of them."""
        if self.seq < 0:
            return np.zeros(0, np.int64)
        ids: Ids = bulk.fetch(self.session, Deletion.image_id, Deletion.seq > self.seq)["key"].astype(np.int64)
        return ids

    def entries(self) -> Entries:
        """Returns the pictures that are new or encoded anew."""
        return encoded(self.session, self.generation_id, self.seq, self.code_bytes)

    def grown(self, newest: int) -> tuple[int, int]:
        """Counts how many more pictures there are than up to the newest id then; returns that and the newest now.

        Ids grow with `seq`. So what came and went meanwhile has a larger id, and neither adds nor takes away.
        """
        counted = select(func.count(), func.max(Picture.id)).where(Picture.id > newest)
        more, last = self.session.execute(counted).one()
        gone = select(func.count()).where(Deletion.seq > self.seq, Deletion.image_id <= newest)
        return more - self.session.scalars(gone).one(), max(newest, last or 0)


def encoded(
    session: Session, generation_id: int, after: int, code_bytes: int, *conditions: ColumnElement[bool]
) -> Entries:
    """Returns what a generation has encoded after a change, where that fulfils some conditions."""
    rows = bulk.fetch(
        session,
        Encoding.image_id,
        Encoding.index_version_id == generation_id,
        Encoding.seq > after,
        *conditions,
        numbers={"slot": Encoding.slot, "checksum": Encoding.checksum},
        binary=("code", Encoding.code, code_bytes),
    )
    return Entries(
        ids=rows["key"].astype(np.int64),
        codes=np.ascontiguousarray(rows["code"]).view(np.uint8).reshape(len(rows), code_bytes),
        slots=rows["slot"].astype(np.int64),
        checksums=rows["checksum"].astype(np.uint32),
    )
