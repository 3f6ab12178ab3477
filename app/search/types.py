"""Data types of a search: options, encodings, candidates and matches."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.search.decode.image import Crop
from app.search.filter import Filter
from app.search.sorting import Sort
from app.search.words import TextQuery

Ids = NDArray[np.int64]


class Mode(StrEnum):
    """The paper's three search modes."""

    HDS = "hds"  # both steps: candidates by code, ranked by F7
    BCS = "bcs"  # codes alone
    ES = "es"  # F7 alone, over all images


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search.

    Attributes:
        k: maximum number of matches.
        mode: search mode.
        pool: maximum number of candidates; None means no limit with a radius, and the network's default without one.
        radius: maximum Hamming distance of a candidate; None for no limit.
        asymmetric: whether candidates are in asymmetric order if the index version has a latent layer of its own.
        label: match only images with this label.
        filter: match only images that pass this filter.
        words: match only images with these words.
        crop: part of the query image to search with; None for the whole image.
        min_similarity: minimum similarity of matches, 0 to 1; None for no limit.
        group_by: metadata field; of matches with equal values only the best is returned. None for no grouping.
        explain: whether to return an explanation of each match.
        sort: order of the k matches; None for their rank.
    """

    k: int = 10
    mode: Mode = Mode.HDS
    pool: int | None = None
    radius: int | None = None
    asymmetric: bool = True
    label: str | None = None
    filter: Filter | None = None
    words: TextQuery | None = None
    crop: Crop | None = None
    min_similarity: float | None = None
    group_by: str | None = None
    explain: bool = False
    sort: Sort | None = None

    def pool_limit(self, default: int) -> int | None:
        """Maximum number of candidates, given the network's default pool; None for all within the radius."""
        if self.pool is None and self.radius is None:
            return max(default, self.k)
        return self.pool


@dataclass(frozen=True)
class Encodings:
    """Codes and F7 of a batch of images; row i is image i.

    Attributes:
        codes: `(n, bits / 8)` uint8.
        features: F7, `(n, feature_dim)` float32, raw or normalised as the checkpoint defines.
    """

    codes: NDArray[np.uint8]
    features: NDArray[np.float32]


@dataclass(frozen=True)
class IndexEntries:
    """Index entries; row i of every array is one image.

    Attributes:
        ids: `(n,)` int64, ascending.
        codes: `(n, bits / 8)` uint8.
        slots: `(n,)` int64, rows of F7 in the vector file.
        checksums: `(n,)` uint32, CRC-32 of F7's bytes.
    """

    ids: Ids
    codes: NDArray[np.uint8]
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]

    def take(self, mask: NDArray[np.bool_]) -> "IndexEntries":
        """Select entries by a mask `(n,)`."""
        return IndexEntries(self.ids[mask], self.codes[mask], self.slots[mask], self.checksums[mask])


@dataclass(frozen=True, eq=False)
class Subset:
    """Ids of the images that pass a filter, `(n,)`, ascending.

    Compared and hashed by identity, so that results computed for a subset can be cached with it as the key.
    """

    ids: Ids


@dataclass(frozen=True)
class Candidates:
    """Candidates by code, the nearest first, ties by id.

    Attributes:
        ids: `(n,)` int64.
        hamming: `(n,)` int32, distance to the query's code.
        slots: `(n,)` int64.
        checksums: `(n,)` uint32.
        codes: `(n, bits / 8)` uint8; None if the index has not read them (`Index.codes` does).
    """

    ids: Ids
    hamming: NDArray[np.int32]
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    codes: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, order: NDArray[np.int64]) -> "Candidates":
        """Select candidates by position, in this order."""
        codes = None if self.codes is None else self.codes[order]
        return Candidates(self.ids[order], self.hamming[order], self.slots[order], self.checksums[order], codes)


NO_CANDIDATES = Candidates(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.uint32))


@dataclass(frozen=True)
class Match:
    """One ranked image.

    Attributes:
        id: image id.
        distance: L2 on F7 for `hds` and `es`, Hamming for `bcs`. Matches are in this order, except in asymmetric `bcs`.
        hamming: Hamming distance to the query's code.
        similarity: calibrated similarity, 0 to 1 (`models/checkpoint/similarity.py`); None if not calibrated.
    """

    id: int
    distance: float
    hamming: int
    similarity: float | None = None
