"""Protocol of the indexes of a catalogue's codes and vectors.

`local/index.py` keeps codes in memory and reads vectors from a mapped file; `milvus/index.py` stores both in Milvus.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.search.types import Candidates, Encodings, Ids, IndexEntries, Match, Subset

Code = NDArray[np.uint8]
Feature = NDArray[np.float32]
Rows = NDArray[np.int64]
Slots = NDArray[np.int64]
Checksums = NDArray[np.uint32]


@dataclass(frozen=True)
class StoredVectors:
    """Result of storing encodings: checksums of F7 `(n,)`, and the index timestamp at which searches find them."""

    checksums: Checksums
    milvus_timestamp: int = 0


class Changes(Protocol):
    """Catalogue changes since an index was last updated, read from the database on demand."""

    @property
    def milvus_timestamp(self) -> int:
        """Index timestamp (from `keep`) at which everything committed is found."""
        ...

    def deleted(self) -> Ids:
        """Return the ids of deleted images."""
        ...

    def entries(self) -> IndexEntries:
        """Return the entries of new and re-encoded images."""
        ...

    def count_images(self, count: int, newest: int) -> tuple[int, int]:
        """Return the number of images and the newest id, given those at the last update."""
        ...


@dataclass(frozen=True)
class RankedMatches:
    """Result of an exhaustive search: nearest matches, and the number of images compared."""

    matches: list[Match]
    compared: int


class Index(Protocol):
    """Index of encoded images. Thread-safe.

    An addition is stored at unused slots, then committed to the database. Searches only return slots that belong to an
    image, so vectors of additions that were never committed are not found.

    Every method but `apply`, `close` and `__len__` raises UnavailableError if the index is temporarily unavailable.
    """

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def as_stored(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return F7 `(n, d)` rounded to the stored type, as `find` returns it."""
        ...

    def store(self, slots: Slots, encoded: Encodings) -> StoredVectors:
        """Store encodings durably at their slots, before they are committed."""
        ...

    def store_codes(self, slots: Slots, codes: NDArray[np.uint8]) -> int:
        """Store codes `(n, bits / 8)` of F7 that is stored already; return the index timestamp of `StoredVectors`."""
        ...

    def stored_features(self, slots: Slots, checksums: Checksums) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return F7 `(n, d)` at slots, and the mask `(n,)` of rows that match their checksums."""
        ...

    def free(self, slots: Slots) -> None:
        """Free slots that no longer belong to an image. Slots that cannot be freed stay, and are never found."""
        ...

    def apply(self, changes: Changes) -> None:
        """Apply committed changes."""
        ...

    def candidates(self, code: Code, pool: int | None, radius: int | None, among: Subset | None) -> Candidates:
        """Coarse: the nearest `pool` codes within `radius`, by (Hamming distance, id), among some ids or all."""
        ...

    def rank(self, feature: Feature, candidates: Candidates, k: int) -> list[Match]:
        """Fine: the k nearest candidates by exact L2 on F7, ties by id."""
        ...

    def rank_all(self, feature: Feature, code: Code, k: int, among: Subset | None) -> RankedMatches:
        """Rank all images, or those of a subset, by exact L2 on F7; return the k nearest, ties by id."""
        ...

    def find(self, image_id: int) -> tuple[Code, Feature] | None:
        """Return an image's code `(bits / 8,)` and F7 `(d,)`; None if it is missing or its vector is damaged."""
        ...

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the codes of images, `(n, bits / 8)`; zeros for missing images."""
        ...

    def verify(self, slots: Slots, checksums: Checksums) -> NDArray[np.bool_]:
        """Verify the vector of each slot against its checksum; `(n,)` bool."""
        ...

    def check_available(self) -> None:
        """Raise UnavailableError if searches are not possible."""
        ...

    @property
    def code_bytes(self) -> int:
        """Memory used by the codes in bytes, in this process or elsewhere."""
        ...

    @property
    def vector_bytes(self) -> int:
        """Storage used by F7 in bytes."""
        ...

    def subset_cache_bytes(self, among: Subset) -> int:
        """Return an upper bound of the memory cached for a subset, in bytes."""
        ...

    def close(self) -> None:
        """Release all resources; searches in progress may fail."""
        ...
