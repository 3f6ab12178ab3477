"""FAISS kernels called directly on NumPy arrays: the inner loops of search.

FAISS's OpenMP threads are disabled: FAISS either runs a query on one thread or waits for a whole OpenMP team, and on
busy cores this wait is many times the work. Long scans are instead split among the threads of a small pool.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

# Generated bindings that FAISS's type stubs lack.
_L2_BY_INDEX: Any = vars(faiss)["fvec_L2sqr_by_idx"]
_HAMMINGS: Any = vars(faiss)["hammings"]

# float16 rows copied at a time, so that they stay in the core's cache until they are compared.
_BLOCK_ROWS = 128
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Minimum number of codes that are worth another thread.
_MIN_CODES_PER_THREAD = 200_000
_POOL = ThreadPoolExecutor(max(_CORES - 1, 1), thread_name_prefix="scan")
_thread_state = threading.local()


def l2_of_rows(
    query: NDArray[np.float32], vectors: NDArray[np.float32] | NDArray[np.float16], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return squared L2 distances `(n,)` from `(d,)` to selected rows of `(rows, d)`; reads no other rows.

    float16 vectors are copied block by block, and distances computed in float32; infinity for NaN and infinity.

    Raises:
        IndexError: a row is out of range.
    """
    # The kernel does not check bounds: a row out of range would crash the process.
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(vectors):
        raise IndexError(
            f"row out of range: the matrix has {len(vectors)} rows, {rows.min()} to {rows.max()} requested"
        )
    _disable_openmp()
    squared = np.empty(len(rows), np.float32)
    if vectors.dtype == np.float16:
        for first in range(0, len(rows), _BLOCK_ROWS):
            block = slice(first, first + _BLOCK_ROWS)
            squared[block] = _l2_of_halves(query, vectors.take(rows[block], axis=0))
    elif len(rows):
        _l2(squared, query, vectors, rows)
    return squared


def _l2(
    out: NDArray[np.float32], query: NDArray[np.float32], vectors: NDArray[np.floating], rows: NDArray[np.int64]
) -> None:
    pointers = [faiss.swig_ptr(array) for array in (out, query, vectors, rows)]
    _L2_BY_INDEX(*pointers, len(query), 1, len(rows))


def _l2_of_halves(query: NDArray[np.float32], halves: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return squared L2 distances `(n,)` to float16 vectors `(n, d)`, which the kernel converts in registers."""
    index: Any = faiss.IndexScalarQuantizer(len(query), faiss.ScalarQuantizer.QT_fp16)
    faiss.copy_array_to_vector(halves.view(np.uint8).ravel(), index.codes)
    index.ntotal = len(halves)
    distances, positions = index.search(query[None], len(halves))
    # Distances that are not finite are left out, with -1 as their position.
    found = positions[0] >= 0
    squared = np.full(len(halves), np.inf, np.float32)
    squared[positions[0][found]] = distances[0][found]
    return squared


def nearest_codes(
    query: NDArray[np.uint8], codes: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return distances `(k,)` and positions `(k,)` of the k nearest of codes `(n, bytes)`, ties by position.

    Raises:
        ValueError: k is not between 1 and n.
    """
    # The kernel does not check bounds.
    if not 1 <= k <= len(codes):
        raise ValueError(f"k is {k}, expected 1 to {len(codes)}")
    parts = max(min(_CORES, len(codes) // max(_MIN_CODES_PER_THREAD, k)), 1)
    starts = [len(codes) * part // parts for part in range(parts)]
    first, *others = np.split(codes, starts[1:])
    futures = [_POOL.submit(_nearest_in_part, query, other, k) for other in others]
    found = [_nearest_in_part(query, first, k), *(future.result() for future in futures)]
    distances = np.concatenate([distances for distances, _ in found])
    positions = np.concatenate([positions + start for (_, positions), start in zip(found, starts, strict=True)])
    # Stable, so that ties stay in order of position.
    order = np.argsort(distances, kind="stable")[:k]
    return distances[order], positions[order]


def _nearest_in_part(
    query: NDArray[np.uint8], codes: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    _disable_openmp()
    # "mc" counts distances instead of using a heap: as fast for k = 10, and hardly slower for thousands.
    distances, positions = faiss.knn_hamming(query[None], codes, k, variant="mc")
    return distances[0].astype(np.int32), positions[0]


def _disable_openmp() -> None:
    """Set OpenMP to one thread, once per Python thread: the call releases the GIL, and waits to acquire it again."""
    if not hasattr(_thread_state, "single_threaded"):
        faiss.omp_set_num_threads(1)
        _thread_state.single_threaded = True


def nearest_centres(
    codes: NDArray[np.uint8], centres: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return for each of codes `(n, bytes)` the distance `(n,)` to its nearest centre and the index `(n,)` of it."""
    _disable_openmp()
    distances, nearest = faiss.knn_hamming(codes, centres, 1)
    return distances[:, 0].astype(np.int32), nearest[:, 0]


def code_distances(query: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the Hamming distances `(n,)` from one code `(bytes,)` to codes `(n, bytes)`."""
    distances = np.empty(len(codes), np.int32)
    if len(codes):
        _disable_openmp()
        first, second, out = (faiss.swig_ptr(array) for array in (query, np.ascontiguousarray(codes), distances))
        _HAMMINGS(first, second, 1, len(codes), codes.shape[1], out)
    return distances
