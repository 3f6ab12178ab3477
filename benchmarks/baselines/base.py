"""What every baseline is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.network.codes import Codes, Floats

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Catalogue:
    """What there is to find: codes `(n, bits / 8)`, F7 `(n, d)`, and a folder for files; row i is image i."""

    codes: Codes
    features: Floats
    folder: Path


@dataclass(frozen=True)
class Query:
    """What is searched with: a code `(bits / 8,)` and F7 `(d,)`."""

    code: Codes
    feature: Floats


class Baseline(Protocol):
    """A way to find the nearest images."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        ...

    @property
    def efforts(self) -> tuple[int, ...]:
        """Settings that trade time for recall, the least first."""
        ...

    def build(self, catalogue: Catalogue) -> None:
        """Take everything in and gets ready to search.

        Raises:
            ImportError: its package is not installed.
        """
        ...

    def search(self, query: Query, k: int, effort: int) -> Ids:
        """Return the k nearest, `(k,)`."""
        ...

    def memory(self) -> int | None:
        """Return the bytes that it holds, in memory or in a database's pages; None where it does not say."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...
