"""Measure exhaustive retrieval of every query in every mode.

The rankings are `bcs` (codes), `es raw` and `es unit` (F7, unchanged or at unit length), `hds raw` and `hds unit`
(codes, then F7 over the pool), and `imagenet` (raw F7 of the backbone with ImageNet weights). The checkpoint's norm
selects which of the two its modes `es` and `hds` are.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.checkpoint.info import FeatureNorm
from models.evaluation import metrics
from models.evaluation.encode_files import Encoded
from models.evaluation.metrics import Doubles, Ranking
from models.network.codes import Codes, Floats, hamming
from models.reports.images import Sample

KS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
MODES = ("es", "hds", "bcs", "imagenet")
DEPTH, RADIUS = 1000, 2
SAMPLES, SHOWN = 8, 5
# Queries per task; tasks run on all cores, because NumPy releases the GIL while it sorts and sums.
_QUERY_BATCH = 256

Scores = dict[str, float | Doubles]
# A ranking of the whole database, and its groups of ties.
Ranked = tuple[Ranking, metrics.Ties]


def retrieval(
    queries: Encoded,
    database: Encoded,
    norm: FeatureNorm,
    pool: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Search with every query in every mode; return the measures by norm of F7, and by mode."""
    count = len(queries.labels)
    shares = [np.arange(first, min(first + _QUERY_BATCH, count)) for first in range(0, count, _QUERY_BATCH)]
    sums: dict[str, Scores] = {}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = threads.map(lambda share: measure(queries.subset(share), database, pool), shares)
        for share, part in zip(shares, parts, strict=True):
            for way, total in part.items():
                add_scores(sums.setdefault(way, {}), total)
            progress(int(share[-1]) + 1, count)
    ways = {way: mean_scores(total, count) for way, total in sums.items()}
    norms = {norm: {mode: ways[f"{mode} {norm}"] for mode in ("es", "hds")} for norm in ("raw", "unit")}
    modes = {mode: found for mode in MODES if (found := (ways | norms[norm]).get(mode))}
    # HDS has the same images within a radius as BCS; modes without codes have no radius.
    for mode, scores in modes.items():
        scores.setdefault("precision_radius_2", ways["bcs"]["precision_radius_2"] if mode == "hds" else None)
    return norms, modes


def measure(queries: Encoded, database: Encoded, pool: int) -> dict[str, Scores]:
    """Search with every query in every mode; return sums of the measures."""
    sums: dict[str, Scores] = {}
    for label, code, ranked in searches(queries, database, pool):
        for way, (ranking, ties) in ranked.items():
            add_scores(sums.setdefault(way, {}), score(database.labels[ranking] == label, ties))
        coarse, _ = ranked["bcs"]
        add_scores(sums["bcs"], score_codes(database.labels[coarse] == label, hamming(code, database.codes[coarse])))
    return sums


def searches(queries: Encoded, database: Encoded, pool: int) -> Iterator[tuple[np.int64, Codes, dict[str, Ranked]]]:
    """Yield each query's label and code, and its rankings of the whole database."""
    raw = metrics.squared_distances(queries.features, database.features, "raw")
    unit = metrics.squared_distances(queries.features, database.features, "unit")
    imagenet: Iterator[Floats | None] = iter([None] * len(queries.labels))
    if queries.imagenet is not None and database.imagenet is not None:
        imagenet = metrics.squared_distances(queries.imagenet, database.imagenet)
    sides = zip(queries.labels, queries.codes, raw, unit, imagenet, strict=True)
    for label, code, near_raw, near_unit, near_imagenet in sides:
        coarse, far = metrics.rank_by_hamming(code, database.codes), hamming(code, database.codes)
        found = {"bcs": (coarse, metrics.ties(far[coarse]))}
        for norm, near in (("raw", near_raw), ("unit", near_unit)):
            exact, both = metrics.rank(near), metrics.rerank(coarse, near, pool)
            found[f"es {norm}"] = exact, metrics.ties(near[exact])
            found[f"hds {norm}"] = both, metrics.ties(near[both[:pool]], far[both[pool:]])
        if near_imagenet is not None:
            untrained = metrics.rank(near_imagenet)
            found["imagenet"] = untrained, metrics.ties(near_imagenet[untrained])
        yield label, code, found


def score(relevant: metrics.Relevance, ties: metrics.Ties) -> Scores:
    """Measure one ranking of the whole database."""
    return {
        "map_tie_aware": metrics.tie_aware_average_precision(relevant, ties),
        "precision": np.array([metrics.precision_at(relevant, k) for k in KS if k <= len(relevant)]),
        "map_1000": metrics.average_precision(relevant[:DEPTH]),
        "map": metrics.average_precision(relevant),
        "precision_by_recall": metrics.precision_by_recall(relevant),
    }


def score_codes(relevant: metrics.Relevance, distances: NDArray[np.int32]) -> Scores:
    """Measure precision within a radius, and precision by recall cut at radii, which replaces that of `score`."""
    within = metrics.precision_within(relevant, distances, RADIUS)
    ends = np.flatnonzero(np.diff(distances, append=-1)) + 1
    return {
        "precision_radius_2": within or 0.0,
        "empty_radius_2": float(within is None),
        "precision_by_radius_recall": metrics.precision_by_recall(relevant, ends),
    }


def add_scores(total: Scores, scores: Scores) -> None:
    """Add a query's scores to the sums."""
    for name, value in scores.items():
        total[name] = total.get(name, 0.0) + value


def mean_scores(total: Scores, count: int) -> dict[str, Any]:
    """Divide sums by the number of queries, and name them as in `metrics.json`."""
    means = {name: (value / count) for name, value in total.items()}
    plain: dict[str, Any] = {n: v.tolist() if isinstance(v, np.ndarray) else float(v) for n, v in means.items()}
    plain["precision"] = {str(k): value for k, value in zip(KS, plain["precision"], strict=False)}
    # The order within ties is arbitrary, so codes are measured at the ends of radii.
    plain["precision_by_recall"] = plain.pop("precision_by_radius_recall", plain["precision_by_recall"])
    return plain


def samples(queries: Encoded, database: Encoded, norm: FeatureNorm, pool: int) -> list[Sample]:
    """Return the results of a few queries, evenly spaced, in every mode."""
    count = min(SAMPLES, len(queries.paths))
    chosen = queries.subset((np.arange(count) * 2 + 1) * len(queries.paths) // (2 * count))
    found: list[Sample] = []
    for path, (label, _, ways) in zip(chosen.paths, searches(chosen, database, pool), strict=True):
        named_ways = ways | {mode: ways[f"{mode} {norm}"] for mode in ("es", "hds")}
        best = {mode: named_ways[mode][0][:SHOWN] for mode in MODES if mode in named_ways}
        results = {
            mode: [(database.paths[i], bool(database.labels[i] == label)) for i in top] for mode, top in best.items()
        }
        found.append(Sample(path, results))
    return found
