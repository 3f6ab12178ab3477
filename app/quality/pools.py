"""Recall, precision and time of searches by pool size, compared with the exact nearest neighbours.

The fine step is exact, so a neighbour that both steps miss was not in the pool: its code is too far from the query's.
Neighbours that a pool ten times as large would find are lost by the pool's size, the others by the codes.
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
from app.quality.content import NO_LABEL, CatalogueContent
from app.quality.neighbours import Neighbours, Rows
from app.search.index import Code, Feature
from app.search.local.fine import l2_distances, smallest_k
from app.search.local.index import LocalIndex
from app.search.pool import nearest_by_code
from app.search.types import Candidates
from models.network.latent_layer import LatentLayer

POOL_SIZES = (30, 100, 300, 1000, 3000, 10_000)
WIDER_FACTOR = 10
# Queries to time per pool size; exhaustive searches are long enough to time with fewer.
_TIMED, _TIMED_EXACT = 40, 5
# Relative tolerance for distances that differ only in the last bits of a float.
_TOLERANCE = 1 + 1e-5


@dataclass(frozen=True)
class SearchResults:
    """Recall and precision of each query, one row per query.

    Attributes:
        pools: the pool sizes, ascending.
        recall: `(q, pools)`, the share of the exact nearest neighbours that both steps find.
        precision: `(q, pools)`, the share of their results that have the query's label; NaN if unknown.
        codes: `(q,)`, the same for codes alone.
        exact: `(q,)`, the same for the exact nearest neighbours.
    """

    pools: tuple[int, ...]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    codes: NDArray[np.float64]
    exact: NDArray[np.float64]


def pool_sizes(pool: int, others: int) -> tuple[int, ...]:
    """Return the pool sizes to measure: `POOL_SIZES` capped at all `others`, the one in use and a wider one."""
    sizes = {min(size, others) for size in POOL_SIZES}
    return tuple(sorted(sizes | {pool, wider_pool(pool, others)}))


def wider_pool(pool: int, others: int) -> int:
    """Return the larger pool size that shows what is lost by the size of `pool`."""
    return max(min(WIDER_FACTOR * pool, others), pool)


def search_all(
    content: CatalogueContent,
    index: LocalIndex,
    vectors: VectorFile,
    queries: Rows,
    exact: Neighbours,
    pools: tuple[int, ...],
    report: Callable[[int, int], None],
    latent: LatentLayer | None = None,
) -> SearchResults:
    """Search with every query and every pool size; with an H over stored F7, candidates are in asymmetric order."""

    def search(at: int) -> tuple[list[float], list[float], float, float]:
        row, k = int(queries[at]), exact.rows.shape[1]
        label = int(content.labels[row])
        feature = content.features(vectors, np.array([row]))[0]
        pool = select_others(content, index, row, max(pools), feature, latent)
        values = l2_distances(feature, vectors.mapped_rows(pool.slots), pool.slots)
        labels = content.labels[np.searchsorted(content.entries.ids, pool.ids)]
        last = exact.distances[at, -1] * _TOLERANCE
        recall = [min(int((values[:size] <= last).sum()), k) / k for size in pools]
        best = [smallest_k(values[:size], pool.ids[:size], k) for size in pools]
        precision = [_precision(labels[places], label) for places in best]
        return recall, precision, _precision(labels[:k], label), _precision(content.labels[exact.rows[at]], label)

    results = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for done, result in enumerate(threads.map(search, range(len(queries))), 1):
            results.append(result)
            report(done, len(queries))
    recall, precision, codes, best = zip(*results, strict=True)
    return SearchResults(pools, np.array(recall), np.array(precision), np.array(codes), np.array(best))


def measure_times(
    content: CatalogueContent, index: LocalIndex, vectors: VectorFile, queries: Rows, pools: Sequence[int], k: int
) -> tuple[list[float], float]:
    """Return the median time in milliseconds of single searches for each pool size, and of exhaustive searches."""
    timed = [_query(content, vectors, int(row)) for row in queries[:_TIMED]]

    def both(code: Code, feature: Feature, pool: int) -> None:
        index.rank(feature, index.candidates(code, pool, None, None), k)

    def exhaustive(code: Code, feature: Feature) -> None:
        index.rank_all(feature, code, k, None)

    times = [_median([_time(partial(both, *query, pool)) for query in timed]) for pool in pools]
    return times, _median([_time(partial(exhaustive, *query)) for query in timed[:_TIMED_EXACT]])


def select_others(
    content: CatalogueContent, index: LocalIndex, row: int, size: int, feature: Feature, latent: LatentLayer | None
) -> Candidates:
    """Return the pool of an image of the catalogue as a search selects it, without the image itself."""
    projections = None if latent is None else latent.projections(feature[None])[0]
    candidates = nearest_by_code(index, content.entries.codes[row], size + 1, projections=projections)
    return candidates.take(np.flatnonzero(candidates.ids != content.entries.ids[row])[:size])


def _precision(labels: NDArray[np.int64], label: int) -> float:
    """Return the share of labelled results that have the query's label; NaN if the query or all results have none."""
    labelled = labels[labels != NO_LABEL]
    return float((labelled == label).mean()) if label != NO_LABEL and len(labelled) else float("nan")


def _query(content: CatalogueContent, vectors: VectorFile, row: int) -> tuple[Code, Feature]:
    return content.entries.codes[row], content.features(vectors, np.array([row]))[0]


def _time(search: Callable[[], None]) -> float:
    start = time.perf_counter()
    search()
    return 1000 * (time.perf_counter() - start)


def _median(times: Sequence[float]) -> float:
    return float(np.median(times))
