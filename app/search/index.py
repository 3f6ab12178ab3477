"""An index: codes and vectors of one generation, and the questions that a search asks of them.

`Index` is the seam: whatever fulfils it can hold a catalogue's codes and vectors. `LocalIndex` keeps the codes in
this process's memory and reads the vectors from a mapped file; `app/search/milvus/index.py` leaves both to Milvus.
"""

import logging
import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.search.local.coarse import CodeTable
from app.search.local.deferred_free import Discarded
from app.search.local.fine import Distances, distances, smallest
from app.search.local.vector_store import Vectors
from app.search.types import Candidates, Encoded, Entries, Ids, Match, Subset

log = logging.getLogger(__name__)

# So long a search may read what it found before, in whichever process.
_STILL_READ_S = 600.0
# Disk comes in pages, and rows that lie side by side leave fewer of them half empty.
_FREED_AT_ONCE = 1024

Code = NDArray[np.uint8]
Feature = NDArray[np.float32]
Rows = NDArray[np.int64]
Slots = NDArray[np.int64]
Checksums = NDArray[np.uint32]


@dataclass(frozen=True)
class Kept:
    """Encodings that are kept: checksums of F7 `(n,)`, and from which moment of the index's own time they are found."""

    checksums: Checksums
    moment: int = 0


class Changes(Protocol):
    """What has changed in the catalogue since an index last followed it; read from the truth when asked for."""

    @property
    def moment(self) -> int:
        """The moment from which everything that was committed is found, as `keep` told those who committed it."""
        ...

    def deleted(self) -> Ids:
        """Returns the pictures that are gone."""
        ...

    def entries(self) -> Entries:
        """Returns the pictures that are new or encoded anew."""
        ...

    def grown(self, newest: int) -> tuple[int, int]:
        """Counts how many more pictures there are than up to the newest id then; returns that and the newest now."""
        ...


@dataclass(frozen=True)
class Ranked:
    """The nearest of everything, and how many pictures were looked at for it."""

    matches: list[Match]
    looked_at: int


class Index(Protocol):
    """Holds encoded pictures and finds those like a query. Safe for many threads.

    An addition is kept at slots that nobody had before, then committed; a slot that no picture has is in no answer.
    So whatever is left behind by those who do not get as far as the commit is never found.

    Everything but `follow`, `close` and the length raises UnavailableError where the index cannot be used right now.
    """

    def __len__(self) -> int:
        """Returns how many pictures there are."""
        ...

    def keep(self, slots: Slots, encoded: Encoded) -> Kept:
        """Keeps encodings at their slots for good, before anybody may find them."""
        ...

    def discard(self, slots: Slots) -> None:
        """Hears that no picture has these slots any more. What cannot be cleared away stays, and is never found."""
        ...

    def follow(self, changes: Changes) -> None:
        """Comes up to what was committed."""
        ...

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: the nearest `pool` codes within `radius`, by (Hamming distance, id), among some ids or all."""
        ...

    def rank(self, feature: Feature, code: Code, candidates: Candidates, k: int) -> list[Match]:
        """Fine: the k nearest candidates by exact L2 on F7, ties by id."""
        ...

    def rank_all(self, feature: Feature, code: Code, k: int, among: Subset | None) -> Ranked:
        """Finds the k nearest of all pictures, or of some, by exact L2 on F7, ties by id."""
        ...

    def find(self, picture_id: int) -> tuple[Code, Feature] | None:
        """Returns a picture's code `(bits / 8,)` and F7 `(d,)`; None where there is none or its vector is damaged."""
        ...

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Returns the codes of pictures, `(n, bits / 8)`; zeros for those that are gone."""
        ...

    def intact(self, slots: Slots, checksums: Checksums) -> NDArray[np.bool_]:
        """Tells for each slot whether its vector is what was kept there."""
        ...

    def require(self) -> None:
        """Makes sure that searches can be answered."""
        ...

    @property
    def bytes_in_use(self) -> int:
        """Bytes of memory that the codes take, wherever they are."""
        ...

    @property
    def bytes_kept(self) -> int:
        """Bytes that F7 takes where it is kept."""
        ...

    def bytes_beside(self, among: Subset) -> int:
        """Returns how much memory it keeps beside a subset, at most, once that was searched."""
        ...

    def close(self) -> None:
        """Lets everything go; searches under way may fail."""
        ...


class LocalIndex:
    """Codes in memory, vectors in a mapped file."""

    def __init__(self, bits: int, vectors: Vectors) -> None:
        self._codes = CodeTable(bits)
        self.vectors = vectors
        self._ordering: threading.Thread | None = None
        self._left = Discarded(_STILL_READ_S)

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def bytes_in_use(self) -> int:
        """Bytes of memory that the codes take."""
        return self._codes.bytes_in_use

    @property
    def bytes_kept(self) -> int:
        """Bytes of disk that the vectors take."""
        return self.vectors.bytes_on_disk

    def bytes_beside(self, among: Subset) -> int:  # noqa: ARG002 – a mask covers all pictures, however few pass
        """Returns the size of a mask."""
        return self._codes.mask_bytes

    def close(self) -> None:
        """Closes the vector file, without what is not needed of it."""
        self.vectors.free(self._left.due())
        self.vectors.close()

    def require(self) -> None:
        """What is in memory can always be asked."""

    def keep(self, slots: Slots, encoded: Encoded) -> Kept:
        """Writes vectors at their slots and syncs them. Codes come to this process as to all others: by following."""
        return Kept(self.vectors.write(slots, encoded.features))

    def discard(self, slots: Slots) -> None:
        """Gives back the disk that vectors take once no search can be about to read them, at a later call.

        A slot is never used again. So nothing that is read or written can be in its place.
        """
        self._left.add(slots)
        due = self._left.due(_FREED_AT_ONCE)
        if not self.vectors.free(due):
            self._left.add(due)

    def follow(self, changes: Changes) -> None:
        """Takes out what is gone, and puts in what is new."""
        self.remove(changes.deleted())
        entries = changes.entries()
        if len(entries.ids):
            self.add(entries)

    def intact(self, slots: Slots, checksums: Checksums) -> NDArray[np.bool_]:
        """Tells for each slot whether its vector is what was written."""
        return self.vectors.intact(slots, checksums)

    def add(self, entries: Entries) -> None:
        """Adds pictures, or replaces those whose ids are there."""
        self._codes.add(entries)
        if self._codes.wants_order and not (self._ordering and self._ordering.is_alive()):
            # Seconds for a million pictures, in which searches go on.
            self._ordering = threading.Thread(target=self._codes.put_in_order, name="ordering", daemon=True)
            self._ordering.start()

    def settle(self) -> None:
        """Waits until the codes are in order, where order is worth its while."""
        if self._ordering is not None:
            self._ordering.join()
        if self._codes.wants_order:
            self._codes.put_in_order()

    def remove(self, ids: Ids) -> None:
        """Takes pictures out; unknown ids do no harm."""
        self._codes.remove(ids)

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: see `CodeTable.nearest`."""
        return self._codes.nearest(code, pool, radius, among)

    def everything(self, among: Subset | None) -> Candidates:
        """Returns all pictures as candidates, among some ids or all."""
        return self._codes.everything(among)

    def rank(self, feature: Feature, code: Code, candidates: Candidates, k: int) -> list[Match]:
        """Fine: exact L2 over the candidates; a vector that is not what was written is never among the matches.

        Damage shows when all of a vector's bytes are read once more. So only the matches are looked at; where one is
        damaged, all candidates are, and those that are left are ranked again.
        """
        order, values = self._order(feature, candidates, k)
        if not self.vectors.intact(candidates.slots[order], candidates.checksums[order]).all():
            candidates = self._intact(candidates)
            order, values = self._order(feature, candidates, k)
        ids = candidates.ids[order]
        hamming = self._codes.hamming(code, ids)
        return [Match(*row) for row in zip(ids.tolist(), values.tolist(), hamming.tolist(), strict=True)]

    def rank_all(self, feature: Feature, code: Code, k: int, among: Subset | None) -> Ranked:
        """Finds the k nearest of all pictures, or of some, by exact L2 on F7."""
        everything = self.everything(among)
        return Ranked(self.rank(feature, code, everything, k), len(everything))

    def find(self, picture_id: int) -> tuple[Code, Feature] | None:
        """Returns a picture's code and F7, or None where there is none or its vector is damaged."""
        found = self._codes.find(picture_id)
        if found is None or not len(self._intact(found[1])):
            return None
        slots = found[1].slots
        return found[0], self.vectors.rows(slots)[slots[0]].astype(np.float32)

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Returns the codes of pictures, `(n, bits / 8)`; zeros for those that are gone."""
        return self._codes.codes(ids)

    def _order(self, feature: Feature, candidates: Candidates, k: int) -> tuple[Rows, Distances]:
        """Returns which candidates are nearest, and their distances; those behind the end of the file come last."""
        vectors = self.vectors.rows(candidates.slots)
        there = np.flatnonzero(candidates.slots < len(vectors))
        values = np.full(len(candidates), np.inf, np.float32)
        values[there] = distances(feature, vectors, candidates.slots[there])
        order = smallest(values, candidates.ids, k)
        return order, values[order]

    def _intact(self, candidates: Candidates) -> Candidates:
        intact = self.vectors.intact(candidates.slots, candidates.checksums)
        if intact.all():
            return candidates
        log.error("vectors damaged on disk, left out: pictures %s", candidates.ids[~intact].tolist())
        return candidates.take(np.flatnonzero(intact))
