"""What searches find with pools of different sizes, beside the exact nearest neighbours, and how long they take.

The fine step is exact, so whatever both steps miss was not in the pool: its code is farther from the query's than
those of the pool are. What a pool ten times as large would find is the pool's loss, the rest is the codes'.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.quality.content import NO_LABEL, Content
from app.quality.neighbours import Neighbours, Rows
from app.search.index import Code, Feature, LocalIndex
from app.search.local.fine import distances, smallest
from app.search.types import Candidates

LADDER = (30, 100, 300, 1000, 3000, 10_000)
WIDER = 10
# So many queries are timed with each pool; an exhaustive search takes long enough to be told by fewer.
_TIMED, _TIMED_EXACT = 40, 5
# Distances that differ in the last bits of a float are the same.
_SAME = 1 + 1e-5


@dataclass(frozen=True)
class Found:
    """What each query found, one row a query.

    Attributes:
        pools: the sizes that were tried, ascending.
        recall: `(q, pools)`, the share of the exact nearest neighbours that both steps find.
        precision: `(q, pools)`, the share of what they find that has the query's label; NaN where nobody knows.
        codes: `(q,)`, the same for codes alone.
        exact: `(q,)`, the same for the exact nearest neighbours.
    """

    pools: tuple[int, ...]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    codes: NDArray[np.float64]
    exact: NDArray[np.float64]


def pools_to_try(pool: int, others: int) -> tuple[int, ...]:
    """Returns the sizes of the ladder up to one that holds all `others`, the one in use and a wider one."""
    sizes = {min(size, others) for size in LADDER}
    return tuple(sorted(sizes | {pool, wider(pool, others)}))


def wider(pool: int, others: int) -> int:
    """Returns the size that tells what a pool loses by its own."""
    return max(min(WIDER * pool, others), pool)


def search_all(
    content: Content,
    index: LocalIndex,
    vectors: VectorFile,
    queries: Rows,
    exact: Neighbours,
    pools: tuple[int, ...],
    report: Callable[[int, int], None],
) -> Found:
    """Searches with every query and every pool."""

    def one(at: int) -> tuple[list[float], list[float], float, float]:
        row, k = int(queries[at]), exact.rows.shape[1]
        label = int(content.labels[row])
        pool = _pool(content, index, row, max(pools))
        feature = content.features(vectors, np.array([row]))[0]
        values = distances(feature, vectors.rows(pool.slots), pool.slots)
        labels = content.labels[np.searchsorted(content.entries.ids, pool.ids)]
        last = exact.distances[at, -1] * _SAME
        recall = [min(int((values[:size] <= last).sum()), k) / k for size in pools]
        best = [smallest(values[:size], pool.ids[:size], k) for size in pools]
        precision = [_precision(labels[places], label) for places in best]
        return recall, precision, _precision(labels[:k], label), _precision(content.labels[exact.rows[at]], label)

    found = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for done, result in enumerate(threads.map(one, range(len(queries))), 1):
            found.append(result)
            report(done, len(queries))
    recall, precision, codes, best = zip(*found, strict=True)
    return Found(pools, np.array(recall), np.array(precision), np.array(codes), np.array(best))


def milliseconds(
    content: Content, index: LocalIndex, vectors: VectorFile, queries: Rows, pools: Sequence[int], k: int
) -> tuple[list[float], float]:
    """Times both steps of lone searches: the median for each pool, and of exhaustive searches."""
    asked = [_query(content, vectors, int(row)) for row in queries[:_TIMED]]

    def both(code: Code, feature: Feature, pool: int) -> None:
        index.rank(feature, code, index.candidates(code, pool, None, None), k)

    def everything(code: Code, feature: Feature) -> None:
        index.rank(feature, code, index.everything(None), k)

    took = [_median([_time(partial(both, *one, pool)) for one in asked]) for pool in pools]
    return took, _median([_time(partial(everything, *one)) for one in asked[:_TIMED_EXACT]])


def _pool(content: Content, index: LocalIndex, row: int, size: int) -> Candidates:
    """Returns the pool of a picture of the catalogue, without itself."""
    candidates = index.candidates(content.entries.codes[row], size + 1, None, None)
    others = np.flatnonzero(candidates.ids != content.entries.ids[row])
    return candidates.take(others[:size])


def _precision(labels: NDArray[np.int64], label: int) -> float:
    """Returns the share of results with the query's label among those that have any; NaN where nobody knows."""
    known = labels[labels != NO_LABEL]
    return float((known == label).mean()) if label != NO_LABEL and len(known) else float("nan")


def _query(content: Content, vectors: VectorFile, row: int) -> tuple[Code, Feature]:
    return content.entries.codes[row], content.features(vectors, np.array([row]))[0]


def _time(search: Callable[[], None]) -> float:
    begun = time.perf_counter()
    search()
    return 1000 * (time.perf_counter() - begun)


def _median(times: Sequence[float]) -> float:
    return float(np.median(times))
