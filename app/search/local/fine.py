"""Fine step: exact L2 distance on F7 over the pool (Lin et al. 2015, section 3.3, fine-level search).

Distances are computed directly on the mapped vector file, reading only the pool's rows.
"""

import numpy as np
from numpy.typing import NDArray

from app.search.local.kernels import l2_of_rows

Distances = NDArray[np.float32]
Vectors = NDArray[np.float32] | NDArray[np.float16]


def l2_distances(query: NDArray[np.float32], vectors: Vectors, slots: NDArray[np.int64]) -> Distances:
    """Compute exact L2 distances from a query to selected rows of a matrix.

    The query is rounded to the vectors' type, so that an image is at distance 0 from itself.

    Args:
        query: `(d,)` float32.
        vectors: `(rows, d)` float32 or float16, C order; usually a mapped file.
        slots: `(n,)` int64, selected rows; each below `rows`.

    Returns:
        `(n,)` float32.
    """
    if query.shape != vectors.shape[1:]:
        raise ValueError(f"query of shape {query.shape} does not fit vectors of shape {vectors.shape}")
    query = np.ascontiguousarray(query.astype(vectors.dtype), np.float32)
    slots = np.ascontiguousarray(slots, np.int64)
    squared = l2_of_rows(query, vectors, slots)
    return np.sqrt(squared, out=squared)


def smallest_k(values: Distances, ids: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the positions of the k smallest values, ascending, ties by id."""
    if k < len(values):
        kth = np.partition(values, k - 1)[k - 1]
        near = np.flatnonzero(values <= kth)
    else:
        near = np.arange(len(values))
    return near[np.lexsort((ids[near], values[near]))][:k]
