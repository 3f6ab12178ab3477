"""Exact nearest neighbours of some images among all, in one pass over F7.

Approximate distances to a block of rows come from one matrix product; the nearest by these are measured again with the
exact distances that searches use.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.quality.content import CatalogueContent, Features, blocks
from app.search.local.fine import l2_distances, smallest_k

Rows = NDArray[np.int64]
# Additional neighbours to keep, since the matrix product is imprecise for nearly equal vectors.
_MARGIN = 22


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of each query without itself: rows `(q, k)` and ascending distances `(q, k)`."""

    rows: Rows
    distances: Features


def exact_neighbours(content: CatalogueContent, vectors: VectorFile, queries: Rows, k: int) -> Neighbours:
    """Find the k nearest neighbours of the rows `queries` among all other rows."""
    features = content.features(vectors, queries)
    candidates = _candidates(content, vectors, queries, features, min(k + _MARGIN, len(content) - 1))
    rows, values = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for at, candidate_rows in enumerate(candidates):
        slots = content.entries.slots[candidate_rows]
        exact = l2_distances(features[at], vectors.mapped_rows(slots), slots)
        best = smallest_k(exact, candidate_rows, k)
        rows[at], values[at] = candidate_rows[best], exact[best]
    return Neighbours(rows, values)


def _candidates(content: CatalogueContent, vectors: VectorFile, queries: Rows, features: Features, count: int) -> Rows:
    """Return for each query the nearest rows `(q, count)` by approximate distance."""
    best = np.full((len(queries), count), np.inf, np.float32)
    rows = np.full((len(queries), count), -1, np.int64)
    for block in blocks(len(content)):
        block_rows = np.arange(block.start, block.stop)
        approximate = _shifted_distances(features, content.features(vectors, block_rows))
        own = np.flatnonzero((queries >= block.start) & (queries < block.stop))
        approximate[own, queries[own] - block.start] = np.inf
        all_distances = np.concatenate([best, approximate], axis=1)
        all_rows = np.concatenate([rows, np.broadcast_to(block_rows, approximate.shape)], axis=1)
        chosen = np.argpartition(all_distances, count - 1, axis=1)[:, :count]
        best, rows = np.take_along_axis(all_distances, chosen, 1), np.take_along_axis(all_rows, chosen, 1)
    return rows


def _shifted_distances(queries: Features, block: Features) -> Features:
    """Return squared distances `(q, n)` minus each query's squared norm, which does not change the order."""
    shifted: Features = np.einsum("ij,ij->i", block, block) - 2 * (queries @ block.T)
    return shifted
