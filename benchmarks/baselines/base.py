"""Protocol of the compared search engines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.network.codes import Codes, Floats

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Catalogue:
    """Data to index: codes `(n, bits / 8)`, F7 `(n, d)`, and a folder for files; row i is image i."""

    codes: Codes
    features: Floats
    folder: Path


@dataclass(frozen=True)
class Query:
    """A query: a code `(bits / 8,)` and F7 `(d,)`."""

    code: Codes
    feature: Floats


class Baseline(Protocol):
    """A search engine."""

    @property
    def name(self) -> str:
        """Name in the table."""
        ...

    @property
    def efforts(self) -> tuple[int, ...]:
        """Search parameters that trade time for recall, ascending."""
        ...

    def build(self, catalogue: Catalogue) -> None:
        """Index the catalogue.

        Raises:
            ImportError: the package is not installed.
        """
        ...

    def search(self, query: Query, k: int, effort: int) -> Ids:
        """Return the ids of the k nearest images, `(k,)`."""
        ...

    def memory(self) -> int | None:
        """Return the bytes in memory or in a database's pages; None if unknown."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...
