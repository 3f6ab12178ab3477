"""Brute force of the coarse step's order: Hamming, or asymmetric."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from app.search import pool
from models.network.codes import hamming

Codes = NDArray[np.uint8]
Projections = NDArray[np.float64]


@dataclass(frozen=True)
class CoarseOrder:
    """Distances of a query to all images.

    Attributes:
        hamming: by image.
        asymmetric: by image; None for Hamming order.
    """

    hamming: list[int]
    asymmetric: list[float] | None = None

    @classmethod
    def of(cls, code: Codes, codes: Codes, projections: Projections | None = None) -> "CoarseOrder":
        """Compute the distances of a query to codes `(n, bits / 8)`."""
        differ = np.unpackbits(codes ^ code, axis=1)
        margins = None if projections is None else (differ * np.abs(projections)).sum(axis=1).tolist()
        return cls(hamming(code, codes).tolist(), margins)

    def first(self, images: Sequence[int], limit: int | None) -> list[int]:
        """Return the first images in this order, at most `limit`; ties by position."""
        by_hamming = sorted(images, key=lambda at: (self.hamming[at], at))
        if self.asymmetric is None:
            return by_hamming[:limit]
        if limit is not None:
            most = min(pool.SHORTLIST_FACTOR * limit, pool.MAX_SHORTLIST)
            by_hamming = by_hamming[: max(limit, pool.MIN_SHORTLIST, most)]
        margins = self.asymmetric
        return sorted(by_hamming, key=lambda at: (margins[at], self.hamming[at], at))[:limit]


@contextmanager
def short_shortlists(least: int, factor: int, most: int) -> Iterator[None]:
    """Set the bounds of shortlists, so that they are shorter than a small catalogue."""
    with patch.multiple(pool, MIN_SHORTLIST=least, SHORTLIST_FACTOR=factor, MAX_SHORTLIST=most):
        yield
