"""The exact nearest neighbours of some pictures among all: one pass over F7, whatever its size.

Distances to a block of rows at a time come from one matrix product, which tells well enough who may be among the
nearest; those few are measured again as searches measure them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.quality.content import Content, Features, blocks
from app.search.local.fine import distances, smallest

Rows = NDArray[np.int64]
# So many more than are wanted are kept: the product is not exact where vectors are almost the same.
_SPARE = 22


@dataclass(frozen=True)
class Neighbours:
    """The nearest of each query, the query itself left out: rows `(q, k)` and distances `(q, k)`, ascending."""

    rows: Rows
    distances: Features


def nearest(content: Content, vectors: VectorFile, queries: Rows, k: int) -> Neighbours:
    """Finds the k nearest of these rows among all others."""
    asked = content.features(vectors, queries)
    found = _likely(content, vectors, queries, asked, min(k + _SPARE, len(content) - 1))
    rows, values = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for at, likely in enumerate(found):
        slots = content.entries.slots[likely]
        exact = distances(asked[at], vectors.rows(slots), slots)
        best = smallest(exact, likely, k)
        rows[at], values[at] = likely[best], exact[best]
    return Neighbours(rows, values)


def _likely(content: Content, vectors: VectorFile, queries: Rows, asked: Features, count: int) -> Rows:
    """Returns for each query the rows `(q, count)` that are nearest, as far as the product can tell."""
    best = np.full((len(queries), count), np.inf, np.float32)
    rows = np.full((len(queries), count), -1, np.int64)
    for some in blocks(len(content)):
        here = np.arange(some.start, some.stop)
        near = _products(asked, content.features(vectors, here))
        own = np.flatnonzero((queries >= some.start) & (queries < some.stop))
        near[own, queries[own] - some.start] = np.inf
        all_near = np.concatenate([best, near], axis=1)
        all_rows = np.concatenate([rows, np.broadcast_to(here, near.shape)], axis=1)
        kept = np.argpartition(all_near, count - 1, axis=1)[:, :count]
        best, rows = np.take_along_axis(all_near, kept, 1), np.take_along_axis(all_rows, kept, 1)
    return rows


def _products(asked: Features, block: Features) -> Features:
    """Returns squared distances `(q, n)` less each query's own square."""
    products: Features = np.einsum("ij,ij->i", block, block) - 2 * (asked @ block.T)
    return products
