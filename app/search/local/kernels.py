"""FAISS's kernels, called on our own arrays: the inner loops of searching.

FAISS has one thread for one query, or wakes a whole team and waits for all of it; on a machine whose cores are busy
that wait is many times the work. So its own threads are switched off. A long scan is split among the cores by threads
that wait for nobody but each other.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

# These bindings are generated, and not in FAISS's type stubs.
_L2_BY_INDEX: Any = vars(faiss)["fvec_L2sqr_by_idx"]
_HAMMINGS: Any = vars(faiss)["hammings"]

# So many widened rows stay in a core's cache until they are compared.
_AT_A_TIME = 128
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# A thread is woken for so many codes, not for fewer.
_LONG = 200_000
_HELPERS = ThreadPoolExecutor(max(_CORES - 1, 1), thread_name_prefix="scan")
_told = threading.local()


def l2_of_rows(
    query: NDArray[np.float32], vectors: NDArray[np.float32] | NDArray[np.float16], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns squared L2 distances `(n,)` from `(d,)` to some rows of `(rows, d)`; reads no other rows.

    Halves are widened as they are read: distances are computed in float32.
    """
    # The kernel does not look before it reads: a row outside the matrix would end the process.
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(vectors):
        raise IndexError(f"a row lies outside the {len(vectors)} of the matrix")
    _stay_on_this_core()
    squared = np.empty(len(rows), np.float32)
    if vectors.dtype == np.float16:
        halves = faiss.ScalarQuantizer(len(query), faiss.ScalarQuantizer.QT_fp16)
        for first in range(0, len(rows), _AT_A_TIME):
            some = rows[first : first + _AT_A_TIME]
            whole = halves.decode(vectors.take(some, axis=0).view(np.uint8))
            _l2(squared[first:], query, whole, np.arange(len(some)))
    elif len(rows):
        _l2(squared, query, vectors, rows)
    return squared


def _l2(
    out: NDArray[np.float32], query: NDArray[np.float32], vectors: NDArray[np.floating], rows: NDArray[np.int64]
) -> None:
    pointers = [faiss.swig_ptr(array) for array in (out, query, vectors, rows)]
    _L2_BY_INDEX(*pointers, len(query), 1, len(rows))


def nearest_codes(
    query: NDArray[np.uint8], codes: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Returns distances `(k,)` and positions `(k,)` of the k nearest of codes `(n, bytes)`, ties by position."""
    # The kernel does not look before it writes.
    if not 1 <= k <= len(codes):
        raise ValueError(f"there are no {k} nearest of {len(codes)} codes")
    parts = max(min(_CORES, len(codes) // max(_LONG, k)), 1)
    starts = [len(codes) * part // parts for part in range(parts)]
    first, *others = np.split(codes, starts[1:])
    helped = [_HELPERS.submit(_nearest_in_part, query, other, k) for other in others]
    found = [_nearest_in_part(query, first, k), *(other.result() for other in helped)]
    distances = np.concatenate([distances for distances, _ in found])
    positions = np.concatenate([positions + start for (_, positions), start in zip(found, starts, strict=True)])
    # Stable: of equal distances, those of an earlier part come first, as their positions do.
    order = np.argsort(distances, kind="stable")[:k]
    return distances[order], positions[order]


def _nearest_in_part(
    query: NDArray[np.uint8], codes: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    _stay_on_this_core()
    # By counting, not by a heap: as fast for ten, and hardly slower for thousands.
    distances, positions = faiss.knn_hamming(query[None], codes, k, variant="mc")
    return distances[0].astype(np.int32), positions[0]


def _stay_on_this_core() -> None:
    """Tells OpenMP once in each thread: the call gives the interpreter away, and waits to get it back."""
    if not hasattr(_told, "once"):
        faiss.omp_set_num_threads(1)
        _told.once = True


def nearest_centres(
    codes: NDArray[np.uint8], centres: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Returns for each of codes `(n, bytes)` the distance `(n,)` to the nearest centre, and which `(n,)` that is."""
    _stay_on_this_core()
    distances, nearest = faiss.knn_hamming(codes, centres, 1)
    return distances[:, 0].astype(np.int32), nearest[:, 0]


def code_distances(query: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns the Hamming distances `(n,)` from one code `(bytes,)` to codes `(n, bytes)`."""
    distances = np.empty(len(codes), np.int32)
    if len(codes):
        _stay_on_this_core()
        first, second, out = (faiss.swig_ptr(array) for array in (query, np.ascontiguousarray(codes), distances))
        _HAMMINGS(first, second, 1, len(codes), codes.shape[1], out)
    return distances
