"""Index in Milvus: Milvus compares codes and vectors, and the database maps slots to images.

An image's slot is its primary key in Milvus; it is reserved and filled before the image's commit, and never reused.
Processes therefore hold no copy of the catalogue: any number of them, on any machine, find everything committed, and
start at once. Slots in Milvus without an image in the database (from additions that were not committed, and replaced or
deleted images) are dropped from results.

The fine step runs in Milvus too, over the slots of the pool.
"""

import logging
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from app.errors import UnavailableError
from app.search.index import Changes, Checksums, Code, Feature, RankedMatches, Slots, StoredVectors
from app.search.local.checksums import checksums
from app.search.local.deferred_free import DeferredFree
from app.search.milvus.capped_top_k import END, CappedTopK, Hits, ImageHits
from app.search.milvus.collection import MAX_LIMIT, CollectionPair, Features, Field
from app.search.types import Candidates, Encodings, Ids, IndexEntries, Match, Subset
from models.network.codes import hamming

log = logging.getLogger(__name__)

# If a filter matches at most this many images, their codes are fetched from the database and compared here.
_MAX_LOCAL_SUBSET = 10_000
# Memory of a cached entry besides its code: id, slot and checksum.
_ENTRY_BYTES = 20
# Hits requested per wanted image, because some slots no longer belong to an image.
_OVERFETCH = 1.1
# Searches may still rank deleted images that they found earlier; none takes this long.
_FREE_DELAY_S = 60.0


class SlotLookup(Protocol):
    """Maps vector slots to images, from the database."""

    def image_ids(self, slots: Slots) -> Ids:
        """Return the image ids of slots `(n,)`; -1 for slots without an image."""
        ...

    def entries(self, ids: Ids) -> IndexEntries:
        """Return current entries of images; missing images are omitted."""
        ...


class MilvusIndex:
    """Index with codes and vectors in Milvus."""

    def __init__(self, collection: CollectionPair, truth: SlotLookup) -> None:
        self.collection, self.slot_lookup = collection, truth
        self._count, self._newest, self._updates, self._timestamp = 0, 0, 0, 0
        self._subset_entries: WeakKeyDictionary[Subset, tuple[int, IndexEntries]] = WeakKeyDictionary()
        self._deferred = DeferredFree(_FREE_DELAY_S)

    def __len__(self) -> int:
        return self._count

    @property
    def code_bytes(self) -> int:
        """Minimum memory used by the codes in Milvus in bytes; this process holds none."""
        return self._count * self.collection.code_bytes

    @property
    def vector_bytes(self) -> int:
        """Minimum storage used by F7 in Milvus in bytes."""
        return self._count * self.collection.vector_bytes

    def subset_cache_bytes(self, among: Subset) -> int:
        """Return the size of the cached entries of a small subset."""
        cached = len(among.ids) if len(among.ids) <= _MAX_LOCAL_SUBSET else 0
        return cached * (_ENTRY_BYTES + self.collection.code_bytes)

    def close(self) -> None:
        """Close the connection."""
        self.collection.close()

    def check_available(self) -> None:
        """Check that Milvus is reachable and has the collections.

        Raises:
            UnavailableError: Milvus cannot be reached, or a collection is missing.
        """
        if not self.collection.exists():
            raise self.collection.missing_error()

    def as_stored(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return F7 `(n, d)` rounded to the collection's type."""
        return self.collection.stored(features).astype(np.float32)

    def store(self, slots: Slots, encoded: Encodings) -> StoredVectors:
        """Insert encodings at their slots; searches find them at the returned timestamp."""
        timestamp = self.collection.insert(slots, encoded)
        return StoredVectors(checksums(self.collection.stored(encoded.features)), timestamp)

    def store_codes(self, slots: Slots, codes: NDArray[np.uint8]) -> int:
        """Insert codes at slots whose F7 is stored; searches find them at the returned timestamp."""
        return self.collection.replace_codes(slots, codes)

    def stored_features(self, slots: Slots, checksums: Checksums) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return F7 `(n, d)` at slots, and the mask `(n,)` of rows that match their checksums; zeros elsewhere."""
        found, features, intact = self._read(slots, checksums)
        rows = np.zeros((len(slots), features.shape[1]), np.float32)
        rows[intact] = features[found[intact]]
        return rows, intact

    def free(self, slots: Slots) -> None:
        """Delete slots at a later call, when no search can still rank them, or in a sync."""
        self._deferred.add(slots)
        if due := self._deferred.due().tolist():
            try:
                self.collection.delete(due)
            except UnavailableError as error:
                log.warning("Unused slots %s were not deleted from Milvus: %s", due, error)

    def apply(self, changes: Changes) -> None:
        """Update the timestamp of searches and the number of images; the changes themselves are already in Milvus."""
        self._timestamp = max(self._timestamp, changes.milvus_timestamp)
        self._count, self._newest = changes.count_images(self._count, self._newest)
        self._updates += 1

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: the nearest `pool` codes within `radius`, by (Hamming distance, id), among some ids or all."""
        if among is not None and len(among.ids) <= _MAX_LOCAL_SUBSET:
            return _nearest(self._entries(among), code, pool, radius)
        query = CappedTopK(self._engine("code", code), self._image_ids(among), MAX_LIMIT)
        return _candidates(query.nearest(pool, radius, self._expected_hits(pool, among)))

    def rank(self, feature: Feature, candidates: Candidates, k: int) -> list[Match]:
        """Fine: the k nearest candidates by exact L2 on F7, computed in Milvus, ties by id."""
        by_slot = np.argsort(candidates.slots)
        chunks = _chunks(len(candidates))
        parts = [self._rank_chunk(feature, candidates.take(by_slot[chunk]), k) for chunk in chunks]
        return _matches(parts, candidates.take(np.argsort(candidates.ids)), k)

    def rank_all(self, feature: Feature, code: Code, k: int, among: Subset | None) -> RankedMatches:
        """Rank all images, or those of a subset, by exact L2 on F7; return the k nearest."""
        if among is not None and len(among.ids) <= _MAX_LOCAL_SUBSET:
            candidates = _nearest(self._entries(among), code, None, None)
            return RankedMatches(self.rank(feature, candidates, k), len(candidates))
        query = CappedTopK(self._engine("f7", feature), self._image_ids(among), MAX_LIMIT)
        found = query.nearest(k, None, self._expected_hits(k, among))
        known = _nearest(self.slot_lookup.entries(np.sort(found.ids)), code, None, None)
        compared = len(self) if among is None else len(among.ids)
        return RankedMatches(_matches([found], known.take(np.argsort(known.ids)), k), compared)

    def find(self, image_id: int) -> tuple[Code, Feature] | None:
        """Return an image's code and F7; None if it is missing or its vector is damaged."""
        entries = self.slot_lookup.entries(np.array([image_id], np.int64))
        found, features = self.collection.vectors(entries.slots, self._timestamp)
        if not len(found) or checksums(features)[0] != entries.checksums[0]:
            return None
        return entries.codes[0].copy(), features[0].astype(np.float32)

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the codes of images, `(n, bits / 8)`; zeros for missing images."""
        entries = self.slot_lookup.entries(np.unique(ids))
        rows, known = _lookup(entries.ids, ids)
        codes = np.zeros((len(ids), entries.codes.shape[1]), np.uint8)
        codes[known] = entries.codes[rows[known]]
        return codes

    def verify(self, slots: Slots, expected: Checksums) -> NDArray[np.bool_]:
        """Verify the vector of each slot against its checksum; `(n,)` bool."""
        return self._read(slots, expected)[2]

    def _read(self, slots: Slots, expected: Checksums) -> tuple[Slots, Features, NDArray[np.bool_]]:
        """Read F7; return the row of each slot `(n,)`, the rows `(m, d)`, and the mask of intact ones `(n,)`."""
        found, features = self.collection.vectors(slots)
        order = np.argsort(found)
        rows, intact = _lookup(found[order], slots)
        intact[intact] = checksums(features[order])[rows[intact]] == expected[intact]
        return rows, features[order], intact

    def _engine(self, field: Field, query: Code | Feature) -> Callable[[int, int, int], Hits]:
        def nearest(start: int, stop: int, limit: int) -> Hits:
            where = f"slot >= {start} and slot < {stop}" if (start, stop) != (0, END) else ""
            return self.collection.nearest(field, query, limit, where, self._timestamp)

        return nearest

    def _image_ids(self, among: Subset | None) -> Callable[[Slots], Ids]:
        def image_ids(slots: Slots) -> Ids:
            ids = self.slot_lookup.image_ids(slots)
            return ids if among is None else np.where(_lookup(among.ids, ids)[1], ids, -1)

        return image_ids

    def _expected_hits(self, k: int | None, among: Subset | None) -> int:
        """Number of hits expected to include k images that pass the filter, assuming a uniform distribution."""
        if k is None:
            return MAX_LIMIT
        passing = 1.0 if among is None else len(among.ids) / max(len(self), len(among.ids))
        return int(_OVERFETCH * k / passing) + 8

    def _entries(self, among: Subset) -> IndexEntries:
        """Entries of a small subset, cached until the next update."""
        updates = self._updates
        cached_at, entries = self._subset_entries.get(among, (None, None))
        if entries is None or cached_at != updates:
            entries = self.slot_lookup.entries(among.ids)
            self._subset_entries[among] = updates, entries
        return entries

    def _rank_chunk(self, feature: Feature, chunk: Candidates, k: int) -> ImageHits:
        """Rank candidates sorted by slot, fewer than `MAX_LIMIT`."""
        where = f"slot in {chunk.slots.tolist()}"

        def engine(_start: int, _stop: int, limit: int) -> Hits:
            return self.collection.nearest("f7", feature, limit, where, self._timestamp)

        def image_ids(slots: Slots) -> Ids:
            return chunk.ids[np.searchsorted(chunk.slots, slots)]

        return CappedTopK(engine, image_ids, MAX_LIMIT).nearest(k, None, k)


def _chunks(count: int) -> list[slice]:
    """Split rows into chunks smaller than `MAX_LIMIT`, so that no chunk is queried twice."""
    return [slice(first, first + MAX_LIMIT - 1) for first in range(0, count, MAX_LIMIT - 1)]


def _nearest(entries: IndexEntries, code: Code, pool: int | None, radius: int | None) -> Candidates:
    """Nearest entries as candidates, by (Hamming distance, id)."""
    distances = hamming(code, entries.codes)
    order = np.lexsort((entries.ids, distances))
    if radius is not None:
        order = order[distances[order] <= radius]
    order = order[:pool]
    found = Candidates(entries.ids, distances, entries.slots, entries.checksums, entries.codes)
    return found.take(order)


def _candidates(found: ImageHits) -> Candidates:
    """Convert hits on codes to candidates; checksums are zero, because Milvus ensures the integrity of its vectors."""
    return Candidates(found.ids, found.distances.astype(np.int32), found.slots, np.zeros(len(found.ids), np.uint32))


def _matches(parts: list[ImageHits], known: Candidates, k: int) -> list[Match]:
    """Merge hits on F7, which have squared L2 distances; `known` has Hamming distances, sorted by id."""
    ids = np.concatenate([np.zeros(0, np.int64), *(part.ids for part in parts)])
    squared = np.concatenate([np.zeros(0), *(part.distances for part in parts)])
    rows, found = _lookup(known.ids, ids)
    order = np.lexsort((ids, squared))
    order = order[found[order]][:k]
    distances = np.sqrt(np.maximum(squared[order], 0))
    ranked = zip(ids[order].tolist(), distances.tolist(), known.hamming[rows[order]].tolist(), strict=True)
    return [Match(*row) for row in ranked]


def _lookup(ordered: NDArray[np.int64], values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions of values in a sorted array `(n,)`, and the mask of values that it contains `(n,)`."""
    if not len(ordered):
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    rows = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return rows, ordered[rows] == values
