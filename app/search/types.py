"""The words of searching, as types: what is asked, what each step hands to the next."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.search.decode.image import Crop
from app.search.filter import Filter

Ids = NDArray[np.int64]


class Mode(StrEnum):
    """The paper's three ways to search."""

    HDS = "hds"  # both steps: candidates by codes, order by F7
    BCS = "bcs"  # codes alone
    ES = "es"  # F7 alone, over everything


@dataclass(frozen=True)
class SearchOptions:
    """What a search asks for.

    Attributes:
        k: the most matches.
        mode: which of the three ways.
        pool: the most candidates that the coarse step keeps; None for no limit but the radius, or where there is no
            radius either, for what suits the network.
        radius: the largest Hamming distance of a candidate; None for no limit but the pool.
        label: only pictures with this label.
        filter: only pictures that pass this filter.
        crop: the part of the query that is searched with; None for all of it.
        min_similarity: only matches that are so similar, 0 to 1; None for all.
        group_by: only the best match of those whose metadata has the same in this field; None for all.
        explain: whether to say why each match is where it is.
    """

    k: int = 10
    mode: Mode = Mode.HDS
    pool: int | None = None
    radius: int | None = None
    label: str | None = None
    filter: Filter | None = None
    crop: Crop | None = None
    min_similarity: float | None = None
    group_by: str | None = None
    explain: bool = False

    def pool_limit(self, usual: int) -> int | None:
        """Returns how many candidates there may be, given the network's usual pool; None for all in the radius."""
        if self.pool is None and self.radius is None:
            return max(usual, self.k)
        return self.pool


@dataclass(frozen=True)
class Encoded:
    """What a network makes of pictures.

    Attributes:
        codes: `(n, bits / 8)` uint8.
        features: F7, `(n, feature_dim)` float32, scaled as the checkpoint says.
    """

    codes: NDArray[np.uint8]
    features: NDArray[np.float32]


@dataclass(frozen=True)
class Entries:
    """Encoded pictures as an index holds them; row i of every array is one picture.

    Attributes:
        ids: `(n,)` int64, ascending.
        codes: `(n, bits / 8)` uint8.
        slots: `(n,)` int64, where F7 lies in the vector file.
        checksums: `(n,)` uint32, CRC-32 of F7's bytes.
    """

    ids: Ids
    codes: NDArray[np.uint8]
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]

    def take(self, chosen: NDArray[np.bool_]) -> "Entries":
        """Returns the pictures that are chosen, `(n,)` bool."""
        return Entries(self.ids[chosen], self.codes[chosen], self.slots[chosen], self.checksums[chosen])


@dataclass(frozen=True, eq=False)
class Subset:
    """Some pictures of a catalogue, as a filter chose them: `ids` `(n,)`, ascending.

    Two are the same only if they are one object, so that whatever is worked out for one can be kept beside it.
    """

    ids: Ids


@dataclass(frozen=True)
class Candidates:
    """The pool, by (Hamming distance, id).

    Attributes:
        ids: `(n,)` int64.
        hamming: `(n,)` int32, bits that differ from the query's code.
        slots: `(n,)` int64.
        checksums: `(n,)` uint32.
    """

    ids: Ids
    hamming: NDArray[np.int32]
    slots: NDArray[np.int64]
    checksums: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, order: NDArray[np.int64]) -> "Candidates":
        """Returns the candidates at these positions, in this order."""
        return Candidates(self.ids[order], self.hamming[order], self.slots[order], self.checksums[order])


NO_CANDIDATES = Candidates(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.uint32))


@dataclass(frozen=True)
class Match:
    """One ranked picture.

    Attributes:
        id: of the picture.
        distance: what ranked it: L2 on F7 for `hds` and `es`, and the Hamming distance for `bcs`.
        hamming: bits in which its code differs from the query's.
        similarity: what the distance means, 0 to 1 (`models/checkpoint/similarity.py`); None where nobody knows.
    """

    id: int
    distance: float
    hamming: int
    similarity: float | None = None
