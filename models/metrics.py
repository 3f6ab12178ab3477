"""How good a ranking is: precision and average precision over rankings of labelled pictures.

Knows nothing of networks or files. A picture is relevant to a query when both have the same label, as in the
paper's section 4.2.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.codes import Codes, Floats, hamming

Ranking = NDArray[np.int64]
Relevance = NDArray[np.bool_]


def rank_by_hamming(query: Codes, codes: Codes) -> Ranking:
    """Orders codes `(n, bits / 8)` by Hamming distance to one, ties by position; returns `(n,)` positions."""
    return np.argsort(hamming(query, codes), kind="stable")


def rank_by_distance(query: Floats, features: Floats) -> Ranking:
    """Orders vectors `(n, d)` by L2 distance to one `(d,)`, ties by position; returns `(n,)` positions."""
    return np.argsort(np.square(features - query).sum(axis=1), kind="stable")


def rerank(query: Floats, features: Floats, ranking: Ranking, pool: int) -> Ranking:
    """Puts the first `pool` of a ranking in order of L2 distance: the paper's fine step, section 3.3."""
    candidates = np.sort(ranking[:pool])
    return candidates[rank_by_distance(query, features[candidates])]


def precision_at(relevant: Relevance, k: int) -> float:
    """Returns the share of relevant ones among the first k of a ranking (the paper's precision@k, eq. 1)."""
    return float(relevant[:k].sum() / k)


def average_precision(relevant: Relevance) -> float:
    """Averages the precision at each relevant position of a ranking `(n,)`; 0 where nothing is relevant."""
    positions = np.flatnonzero(relevant)
    if not len(positions):
        return 0.0
    return float(np.mean(np.arange(1, len(positions) + 1) / (positions + 1)))


def accuracy(logits: Floats, labels: NDArray[np.int64]) -> float:
    """Returns the share of rows `(n, classes)` whose largest logit is at the label."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def retrieval(
    queries: tuple[Codes, Floats, NDArray[np.int64]],
    database: tuple[Codes, Floats, NDArray[np.int64]],
    *,
    k: int = 10,
    pool: int = 1000,
) -> dict[str, dict[str, float]]:
    """Measures the paper's three ways to search, HDS, BCS and ES, with labels as relevance.

    Args:
        queries: codes, F7 and labels of the queries.
        database: the same of what is searched.
        k: how far precision looks.
        pool: candidates that the coarse step hands to the fine one.

    Returns:
        By mode, `precision` at k, and for `bcs` and `es` also `map` over the whole database.
    """
    sums = {"hds": np.zeros(1), "bcs": np.zeros(2), "es": np.zeros(2)}
    codes, features, labels = database
    for code, feature, label in zip(*queries, strict=True):
        coarse, exact = rank_by_hamming(code, codes), rank_by_distance(feature, features)
        relevant = labels == label
        sums["hds"] += precision_at(relevant[rerank(feature, features, coarse, pool)], k)
        sums["bcs"] += (precision_at(relevant[coarse], k), average_precision(relevant[coarse]))
        sums["es"] += (precision_at(relevant[exact], k), average_precision(relevant[exact]))
    count = len(queries[2])
    names = ("precision", "map")
    return {
        mode: dict(zip(names, cast("list[float]", (total / count).tolist()), strict=False))
        for mode, total in sums.items()
    }
