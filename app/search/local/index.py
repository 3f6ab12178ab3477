"""The local index: codes in memory, vectors in a mapped file."""

import logging
import threading

import numpy as np
from numpy.typing import NDArray

from app.search.index import Changes, Checksums, Code, Feature, RankedMatches, Rows, Slots, StoredVectors
from app.search.local.coarse import CodeTable
from app.search.local.deferred_free import DeferredFree
from app.search.local.fine import Distances, l2_distances, smallest_k
from app.search.local.vector_store import VectorStore
from app.search.types import Candidates, Encodings, Ids, IndexEntries, Match, Subset

log = logging.getLogger(__name__)

# Searches in any process may read vectors of deleted images for this long.
_FREE_DELAY_S = 600.0
# Disk space is freed in whole pages; freeing adjacent rows together leaves fewer pages partly used.
_MIN_FREED = 1024


class LocalIndex:
    """Index with codes in memory and vectors in a mapped file.

    Args:
        bits: bits of a code.
        vectors: storage of F7; also an attribute, as is the code table, `table`.
        lists: whether to build inverted lists, which take seconds for a million images.
    """

    def __init__(self, bits: int, vectors: VectorStore, *, lists: bool = True) -> None:
        self.table, self._lists = CodeTable(bits), lists
        self.vectors = vectors
        self._list_builder: threading.Thread | None = None
        self._deferred = DeferredFree(_FREE_DELAY_S)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def code_bytes(self) -> int:
        """Memory used by the codes in bytes."""
        return self.table.bytes_in_use

    @property
    def vector_bytes(self) -> int:
        """Disk space used by the vectors in bytes."""
        return self.vectors.bytes_on_disk

    def subset_cache_bytes(self, among: Subset) -> int:  # noqa: ARG002 - the protocol `Index` has it, because Milvus needs memory for each id; a mask is always of one size
        """Return the size of a mask."""
        return self.table.mask_bytes

    def close(self) -> None:
        """Free discarded vectors that are due, and close the vector file."""
        self.vectors.free(self._deferred.due())
        self.vectors.close()

    def check_available(self) -> None:
        """Do nothing: an index in memory is always available."""

    def as_stored(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return F7 `(n, d)` rounded to the vectors' type."""
        return self.vectors.as_stored(features).astype(np.float32)

    def store(self, slots: Slots, encoded: Encodings) -> StoredVectors:
        """Write vectors at their slots and sync. Codes are added by `apply`, in this process as in others."""
        return StoredVectors(self.vectors.write(slots, encoded.features))

    def store_codes(self, slots: Slots, codes: NDArray[np.uint8]) -> int:  # noqa: ARG002 - the protocol `Index` has them, because Milvus stores codes; this index reads them from the database
        """Do nothing: codes are added by `apply`."""
        return 0

    def stored_features(self, slots: Slots, checksums: Checksums) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return F7 `(n, d)` at slots, and the mask `(n,)` of intact rows; zeros where the file has no row."""
        intact = self.vectors.verify(slots, checksums)
        mapped = self.vectors.mapped_rows(slots)
        features = np.zeros((len(slots), mapped.shape[1]), np.float32)
        features[intact] = mapped[slots[intact]]
        return features, intact

    def free(self, slots: Slots) -> None:
        """Free the disk space of vectors at a later call, when no search can still be reading them.

        Slots are never reused, so freeing late cannot affect other vectors.
        """
        self._deferred.add(slots)
        due = self._deferred.due(_MIN_FREED)
        if not self.vectors.free(due):
            self._deferred.add(due)

    def apply(self, changes: Changes) -> None:
        """Apply committed deletions, additions and updates."""
        self.remove(changes.deleted())
        entries = changes.entries()
        if len(entries.ids):
            self.table.add(entries)
        self._build_lists_if_needed()

    def verify(self, slots: Slots, checksums: Checksums) -> NDArray[np.bool_]:
        """Verify the vector of each slot against its checksum; `(n,)` bool."""
        return self.vectors.verify(slots, checksums)

    def add(self, entries: IndexEntries) -> None:
        """Add images, or replace those with the same ids."""
        self.table.add(entries)
        self._build_lists_if_needed()

    @property
    def is_settled(self) -> bool:
        """Whether no inverted lists are being built."""
        return self._list_builder is None or not self._list_builder.is_alive()

    def wait_for_lists(self) -> None:
        """Wait until inverted lists are built, if they are worthwhile."""
        if self._list_builder is not None:
            self._list_builder.join()
        if self.table.needs_lists:
            self.table.build_lists()

    def remove(self, ids: Ids) -> None:
        """Remove images; unknown ids are ignored."""
        self.table.remove(ids)

    def _build_lists_if_needed(self) -> None:
        if self._lists and self.table.needs_lists and self.is_settled:
            # Searches continue meanwhile.
            self._list_builder = threading.Thread(target=self.table.build_lists, name="ordering", daemon=True)
            self._list_builder.start()

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: see `CodeTable.nearest`."""
        return self.table.nearest(code, pool, radius, among)

    def all_candidates(self, among: Subset | None) -> Candidates:
        """Return all images as candidates, or those of a subset."""
        return self.table.all_candidates(among)

    def rank(self, feature: Feature, candidates: Candidates, k: int) -> list[Match]:
        """Fine: exact L2 over the candidates; damaged vectors are never among the matches."""
        nearest, distances = self._nearest(feature, candidates, k)
        return _matches(nearest.ids, distances, nearest.hamming)

    def rank_all(self, feature: Feature, code: Code, k: int, among: Subset | None) -> RankedMatches:
        """Rank all images, or those of a subset, by exact L2 on F7; return the k nearest."""
        everything = self.all_candidates(among)
        nearest, distances = self._nearest(feature, everything, k)
        hamming = self.table.hamming(code, nearest.ids)
        return RankedMatches(_matches(nearest.ids, distances, hamming), len(everything))

    def find(self, image_id: int) -> tuple[Code, Feature] | None:
        """Return an image's code and F7; None if it is missing or its vector is damaged."""
        found = self.table.find(image_id)
        if found is None or not len(self._verified(found[1])):
            return None
        slots = found[1].slots
        return found[0], self.vectors.mapped_rows(slots)[slots[0]].astype(np.float32)

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the codes of images, `(n, bits / 8)`; zeros for missing images."""
        return self.table.codes(ids)

    def _nearest(self, feature: Feature, candidates: Candidates, k: int) -> tuple[Candidates, Distances]:
        """Return the k nearest intact candidates, and their distances.

        Verifying a checksum reads all bytes of a vector, so only the nearest are verified. If one is damaged, all
        candidates are verified, and the intact ones are ranked again.
        """
        order, values = self._order(feature, candidates, k)
        if not self.vectors.verify(candidates.slots[order], candidates.checksums[order]).all():
            candidates = self._verified(candidates)
            order, values = self._order(feature, candidates, k)
        return candidates.take(order), values

    def _order(self, feature: Feature, candidates: Candidates, k: int) -> tuple[Rows, Distances]:
        """Positions and distances of the k nearest candidates; slots beyond the end of the file come last."""
        vectors = self.vectors.mapped_rows(candidates.slots)
        in_file = np.flatnonzero(candidates.slots < len(vectors))
        values = np.full(len(candidates), np.inf, np.float32)
        values[in_file] = l2_distances(feature, vectors, candidates.slots[in_file])
        order = smallest_k(values, candidates.ids, k)
        return order, values[order]

    def _verified(self, candidates: Candidates) -> Candidates:
        intact = self.vectors.verify(candidates.slots, candidates.checksums)
        if intact.all():
            return candidates
        log.error("Vectors damaged on disk, left out of results: images %s", candidates.ids[~intact].tolist())
        return candidates.take(np.flatnonzero(intact))


def _matches(ids: Ids, distances: Distances, hamming: NDArray[np.int32]) -> list[Match]:
    columns = (ids.tolist(), distances.tolist(), hamming.tolist())
    return [Match(*row) for row in zip(*columns, strict=True)]
