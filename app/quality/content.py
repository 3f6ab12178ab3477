"""Snapshot of a catalogue for reports: codes, vector slots and labels of one index version."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import LargeBinary, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from app.catalogue.database.tables import Image, IndexVersion
from app.catalogue.index_sync import fetch_encodings
from app.catalogue.vectors.file import VectorFile
from app.search.types import IndexEntries

Labels = NDArray[np.int64]
Features = NDArray[np.float32]

NO_LABEL = -1
# Rows of F7 per block: some tens of megabytes.
_BLOCK = 4096


@dataclass(frozen=True)
class CatalogueContent:
    """Images with their encodings; row i of every array is one image, sorted by id.

    Attributes:
        entries: codes, and slots of F7.
        labels: `(n,)`, each an index into `names`, or `NO_LABEL`.
        names: the distinct labels.
    """

    entries: IndexEntries
    labels: Labels
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, mask: NDArray[np.bool_]) -> "CatalogueContent":
        """Return the images that a mask `(n,)` selects."""
        return CatalogueContent(self.entries.take(mask), self.labels[mask], self.names)

    def features(self, vectors: VectorFile, rows: NDArray[np.int64]) -> Features:
        """Read the F7 of some rows, `(m, d)`."""
        slots = self.entries.slots[rows]
        return vectors.mapped_rows(slots)[slots].astype(np.float32)


def read_content(session: Session, index_version: IndexVersion) -> CatalogueContent:
    """Read the content of an index version; `session` must be a snapshot."""
    entries = fetch_encodings(session, index_version.id, after=-1, code_bytes=index_version.bits // 8)
    labels, names = np.full(len(entries.ids), NO_LABEL, np.int64), list[str]()
    for name, ids in _labelled(session):
        at = np.searchsorted(entries.ids, ids)
        at = at[np.isin(ids, entries.ids, assume_unique=True)]
        labels[at] = len(names)
        names.append(name)
    return CatalogueContent(entries, labels, tuple(names))


def intact(content: CatalogueContent, vectors: VectorFile) -> CatalogueContent:
    """Drop images whose vectors do not match their checksums."""
    entries, good = content.entries, np.zeros(len(content), np.bool_)
    for block in blocks(len(content)):
        good[block] = vectors.verify(entries.slots[block], entries.checksums[block])
    return content if good.all() else content.take(good)


def blocks(count: int) -> Iterator[slice]:
    """Split `count` rows into blocks that fit into memory."""
    return (slice(first, min(first + _BLOCK, count)) for first in range(0, count, _BLOCK))


def _labelled(session: Session) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield every label with its image ids, packed into bytes by PostgreSQL: single rows would take seconds."""
    packed = func.string_agg(
        func.int8send(Image.id, type_=LargeBinary), aggregate_order_by(literal(b"", LargeBinary), Image.id)
    )
    rows = select(Image.label, packed).where(Image.label.is_not(None)).group_by(Image.label)
    for name, ids in session.execute(rows.order_by(Image.label)):
        yield str(name), np.frombuffer(ids, ">i8").astype(np.int64)
