"""Measure the search quality of a catalogue on its own images, for `lookalike report`. Read-only.

A sample of the images are queries, each excluded from its own results. The results of both steps are compared with
exhaustive search over F7 and, where there are labels, with those.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.errors import LookalikeError
from app.quality.advice import MIN_RECALL, PoolResult, recommend_pool
from app.quality.codes import health
from app.quality.content import NO_LABEL, CatalogueContent, intact
from app.quality.drift import drift
from app.quality.neighbours import exact_neighbours
from app.quality.pools import SearchResults, measure_times, pool_sizes, search_all, wider_pool
from app.search.local.index import LocalIndex
from models.checkpoint.info import CheckpointInfo
from models.evaluation.label_errors import find_confusions, find_suspects
from models.network.latent_layer import LatentLayer

MIN_IMAGES = 20
K = 10
# Labels that are listed, and ids of queries of each, the worst first.
_MAX_LABELS, _MAX_EXAMPLES = 50, 4

Progress = Callable[[int, int], None]


def measure(
    content: CatalogueContent,
    vectors: VectorFile,
    network: CheckpointInfo,
    pool: int,
    queries: int,
    progress: Progress,
    latent: LatentLayer | None = None,
    adaptation: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure search quality; returns the content of `report.json`.

    Args:
        content: the catalogue.
        vectors: its F7.
        network: the model that encoded it.
        pool: number of candidates of a search.
        queries: number of images to use as queries.
        progress: called with the number of finished queries and the total.
        latent: the H over stored F7 that made the codes; None if H is part of the model.
        adaptation: what the last attempt to fit codes to the catalogue measured.

    Raises:
        LookalikeError: the catalogue has too few images.
    """
    start = time.monotonic()
    whole = intact(content, vectors)
    if len(whole) < MIN_IMAGES:
        raise LookalikeError(f"A report needs at least {MIN_IMAGES} images, and the catalogue has {len(whole)}.")
    query_rows = np.sort(np.random.default_rng(0).permutation(len(whole))[:queries])
    index = LocalIndex(network.bits, vectors)
    index.add(whole.entries)
    index.wait_for_lists()
    exact = exact_neighbours(whole, vectors, query_rows, K)
    pools = pool_sizes(pool, len(whole) - 1)
    results = search_all(whole, index, vectors, query_rows, exact, pools, progress, latent)
    times, exact_time = measure_times(whole, index, vectors, query_rows, pools, K)
    by_pool = _by_pool(results, times)
    labelled = int((~np.isnan(results.exact)).sum())
    return {
        "catalogue": {
            "pictures": len(content),
            "labelled": int((content.labels != NO_LABEL).sum()),
            "labels": len(content.names),
            "damaged": len(content) - len(whole),
        },
        "network": {"name": network.name, "fingerprint": network.fingerprint, "bits": network.bits},
        "queries": len(query_rows),
        "labelled_queries": labelled,
        "k": K,
        "pool": pool,
        "pools": [asdict(one) for one in by_pool],
        "exact_milliseconds": exact_time,
        "enough_recall": MIN_RECALL,
        "lost": _lost(results, pool, wider_pool(pool, len(whole) - 1)),
        "precision": _precision(results, pool) if labelled else None,
        "labels": _by_label(whole, query_rows, results, pool),
        **_label_errors(whole, query_rows, exact.rows),
        "adapted": latent is not None,
        "adaptation": adaptation,
        "advice": asdict(recommend_pool(by_pool, pool, labelled if network.classes else 0, len(whole) - 1)),
        "codes": health(whole),
        "drift": drift(whole, vectors),
        "seconds": time.monotonic() - start,
    }


def _by_pool(results: SearchResults, times: list[float]) -> list[PoolResult]:
    recall = results.recall.mean(axis=0)
    return [
        PoolResult(pool, float(recall[at]), _mean(results.precision[:, at]), times[at])
        for at, pool in enumerate(results.pools)
    ]


def _lost(results: SearchResults, pool: int, wider: int) -> dict[str, Any]:
    """Return the shares of exact nearest neighbours that are found, lost by the pool's size, and lost by the codes."""
    found, found_wider = (float(results.recall[:, results.pools.index(size)].mean()) for size in (pool, wider))
    return {"found": found, "by_pool": found_wider - found, "by_codes": 1 - found_wider, "wider": wider}


def _precision(results: SearchResults, pool: int) -> dict[str, float | None]:
    both = results.precision[:, results.pools.index(pool)]
    return {"both": _mean(both), "codes": _mean(results.codes), "exact": _mean(results.exact)}


def _by_label(
    content: CatalogueContent, query_rows: NDArray[np.int64], results: SearchResults, pool: int
) -> list[dict[str, Any]]:
    """Average the queries of each label, the worst first: lowest precision, then lowest recall."""
    at, labels = results.pools.index(pool), content.labels[query_rows]
    # The worst queries first, those of unknown precision last.
    worst = np.lexsort((results.recall[:, at], results.precision[:, at]))
    rows = [
        {
            "label": content.names[label],
            "pictures": int((content.labels == label).sum()),
            "queries": int((labels == label).sum()),
            "recall": float(results.recall[labels == label, at].mean()),
            "both": _mean(results.precision[labels == label, at]),
            "codes": _mean(results.codes[labels == label]),
            "exact": _mean(results.exact[labels == label]),
            "examples": content.entries.ids[query_rows[worst[labels[worst] == label]]][:_MAX_EXAMPLES].tolist(),
        }
        for label in np.unique(labels[labels != NO_LABEL])
    ]
    return sorted(rows, key=_badness)[:_MAX_LABELS]


def _label_errors(content: CatalogueContent, query_rows: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return the queries whose label is probably wrong, and the labels that are confused, by their neighbours."""
    own, of_neighbours = content.labels[query_rows], content.labels[rows]
    sizes = np.bincount(content.labels[content.labels != NO_LABEL], minlength=len(content.names))
    ids, names = content.entries.ids, content.names
    return {
        "suspects": [
            {
                "id": int(ids[query_rows[one.query]]),
                "label": names[one.label],
                "suggested": names[one.suggested],
                "votes": one.votes,
                "neighbours": ids[rows[one.query]].tolist(),
            }
            for one in find_suspects(own, of_neighbours, sizes)
        ],
        "confused": [
            {"label": names[one.label], "other": names[one.other], "images": one.images, "of": one.of}
            for one in find_confusions(own, of_neighbours)
        ],
    }


def _badness(row: dict[str, Any]) -> tuple[float, float, str]:
    return (2.0 if row["both"] is None else row["both"], row["recall"], row["label"])


def _mean(values: NDArray[np.float64]) -> float | None:
    """Return the mean of the values that are not NaN; None if there are none."""
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if len(valid) else None
