"""The fine step: exact L2 distance on F7 over the pool (Lin et al. 2015, section 3.3, fine-level search).

Distances are computed straight from the mapped vector file, reading only the pool's rows. Knows nothing of codes,
SQL or HTTP.
"""

import numpy as np
from numpy.typing import NDArray

from app.search.local.kernels import l2_of_rows

Distances = NDArray[np.float32]
Vectors = NDArray[np.float32] | NDArray[np.float16]


def distances(query: NDArray[np.float32], vectors: Vectors, slots: NDArray[np.int64]) -> Distances:
    """Measures exact L2 distances from a query to some rows of a matrix.

    A query is rounded as the vectors were, so that the same picture is at distance 0.

    Args:
        query: `(d,)` float32.
        vectors: `(rows, d)` float32 or float16, C order; usually a mapped file.
        slots: `(n,)` int64, which rows; each below `rows`.

    Returns:
        `(n,)` float32.
    """
    if query.shape != vectors.shape[1:]:
        raise ValueError(f"the query has shape {query.shape}, the vectors {vectors.shape}")
    query = np.ascontiguousarray(query.astype(vectors.dtype), np.float32)
    slots = np.ascontiguousarray(slots, np.int64)
    squared = l2_of_rows(query, vectors, slots)
    return np.sqrt(squared, out=squared)


def smallest(values: Distances, ids: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Returns the positions of the k smallest values in order, ties by id."""
    if k < len(values):
        edge = np.partition(values, k - 1)[k - 1]
        near = np.flatnonzero(values <= edge)
    else:
        near = np.arange(len(values))
    return near[np.lexsort((ids[near], values[near]))][:k]
