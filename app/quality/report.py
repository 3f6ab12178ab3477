"""How good a catalogue's search is, on its own pictures: `lookalike report`.

Some of the pictures ask, each left out of its own results. What both steps find is compared with exhaustive search
over F7, and with labels where there are any. Changes nothing.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.errors import LookalikeError
from app.quality.advice import ENOUGH_RECALL, Tried, advise
from app.quality.codes import health
from app.quality.content import NO_LABEL, Content, intact
from app.quality.drift import drift
from app.quality.neighbours import nearest
from app.quality.pools import Found, milliseconds, pools_to_try, search_all, wider
from app.search.index import LocalIndex
from models.checkpoint.info import CheckpointInfo

FEWEST = 20
K = 10
_SHOWN_LABELS = 50

Report = Callable[[int, int], None]


def measure(
    content: Content, vectors: VectorFile, network: CheckpointInfo, pool: int, queries: int, report: Report
) -> dict[str, Any]:
    """Measures the search; returns what `report.json` holds.

    Args:
        content: the catalogue.
        vectors: its F7.
        network: what encoded it.
        pool: candidates that searches look at.
        queries: how many pictures ask.
        report: hears how many of them have.

    Raises:
        LookalikeError: there are too few pictures.
    """
    begun = time.monotonic()
    whole = intact(content, vectors)
    if len(whole) < FEWEST:
        raise LookalikeError(f"A report wants {FEWEST} pictures or more, and the catalogue has {len(whole)}.")
    asking = np.sort(np.random.default_rng(0).permutation(len(whole))[:queries])
    index = LocalIndex(network.bits, vectors)
    index.add(whole.entries)
    index.settle()
    exact = nearest(whole, vectors, asking, K)
    pools = pools_to_try(pool, len(whole) - 1)
    found = search_all(whole, index, vectors, asking, exact, pools, report)
    took, took_exact = milliseconds(whole, index, vectors, asking, pools, K)
    tried = _tried(found, took)
    labelled = int((~np.isnan(found.exact)).sum())
    return {
        "catalogue": {
            "pictures": len(content),
            "labelled": int((content.labels != NO_LABEL).sum()),
            "labels": len(content.names),
            "damaged": len(content) - len(whole),
        },
        "network": {"name": network.name, "fingerprint": network.fingerprint, "bits": network.bits},
        "queries": len(asking),
        "labelled_queries": labelled,
        "k": K,
        "pool": pool,
        "pools": [asdict(one) for one in tried],
        "exact_milliseconds": took_exact,
        "enough_recall": ENOUGH_RECALL,
        "lost": _lost(found, pool, wider(pool, len(whole) - 1)),
        "precision": _precision(found, pool) if labelled else None,
        "labels": _by_label(whole, asking, found, pool),
        "advice": asdict(advise(tried, pool, labelled, len(whole) - 1)),
        "codes": health(whole),
        "drift": drift(whole, vectors),
        "seconds": time.monotonic() - begun,
    }


def _tried(found: Found, took: list[float]) -> list[Tried]:
    recall = found.recall.mean(axis=0)
    return [
        Tried(pool, float(recall[at]), _mean(found.precision[:, at]), took[at]) for at, pool in enumerate(found.pools)
    ]


def _lost(found: Found, pool: int, larger: int) -> dict[str, Any]:
    """Says what becomes of the exact nearest neighbours: found, lost by the pool's size, lost by the codes."""
    here, there = (float(found.recall[:, found.pools.index(size)].mean()) for size in (pool, larger))
    return {"found": here, "by_pool": there - here, "by_codes": 1 - there, "wider": larger}


def _precision(found: Found, pool: int) -> dict[str, float | None]:
    both = found.precision[:, found.pools.index(pool)]
    return {"both": _mean(both), "codes": _mean(found.codes), "exact": _mean(found.exact)}


def _by_label(content: Content, asking: NDArray[np.int64], found: Found, pool: int) -> list[dict[str, Any]]:
    """Measures the queries of each label, those whose neighbours are lost most first."""
    at, labels = found.pools.index(pool), content.labels[asking]
    rows = [
        {
            "label": content.names[label],
            "pictures": int((content.labels == label).sum()),
            "queries": int((labels == label).sum()),
            "recall": float(found.recall[labels == label, at].mean()),
            "both": _mean(found.precision[labels == label, at]),
            "codes": _mean(found.codes[labels == label]),
            "exact": _mean(found.exact[labels == label]),
        }
        for label in np.unique(labels[labels != NO_LABEL])
    ]
    return sorted(rows, key=lambda row: (row["recall"], row["label"]))[:_SHOWN_LABELS]


def _mean(values: NDArray[np.float64]) -> float | None:
    """Averages what is known; None where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
