"""Retrieval measures of rankings, and statistics of codes.

An image is relevant to a query if both have the same label (Lin et al. 2015, section 4.2). Measures take one query at a
time, as `relevant`: `(n,)` bool, in ranking order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from models.network.codes import Codes, Floats, hamming, unpack

Ranking = NDArray[np.int64]
Relevance = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Ties = NDArray[np.int64]

RECALL_STEPS = 20
# Minimum share of images with the same value of a bit for the bit to be dead, and nearly dead.
DEAD, NEARLY_DEAD = 0.995, 0.95
# Queries per block: its distances to 50,000 images take 13 MB.
_BLOCK = 64


def rank(distances: NDArray[np.integer | np.floating]) -> Ranking:
    """Rank by distance `(n,)`, ties by position; return positions `(n,)`."""
    if distances.dtype != np.float32:
        return np.argsort(distances, kind="stable")
    # NumPy sorts integers several times as fast as it sorts floats stably. Keys: the distance's bits, made monotonic,
    # above its position.
    bits = (distances + np.float32(0)).view(np.uint32)
    monotonic = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys = np.sort(monotonic << np.uint64(32) | np.arange(len(distances), dtype=np.uint64))
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def rank_by_hamming(query: Codes, codes: Codes) -> Ranking:
    """Rank codes `(n, bits / 8)` by Hamming distance to one code, ties by position; return positions `(n,)`."""
    return rank(hamming(query, codes).astype(np.int16))  # NumPy sorts short integers in linear time


def squared_distances(queries: Floats, features: Floats, norm: Literal["raw", "unit"] = "raw") -> Iterator[Floats]:
    """Yield, for each query of `(q, d)`, squared L2 distances `(n,)` to `(n, d)`, less the query's squared norm.

    The omitted term is constant per query, so the ranking is right. |x|² − 2qx is a float32 matrix product: fast, but
    less exact than (q − x)² for distances far below the norms.
    """
    scales, query_scales = _scales(features, norm), _scales(queries, norm)
    squares = np.square(_lengths(features) * scales)
    for first in range(0, len(queries), _BLOCK):
        some = slice(first, first + _BLOCK)
        yield from squares - 2 * scales * query_scales[some, None] * (queries[some] @ features.T)


def rerank(ranking: Ranking, distances: Floats, pool: int) -> Ranking:
    """Reorder the first `pool` entries of a ranking by L2 distance: the paper's fine search, section 3.3.

    Entries behind the pool keep their order.
    """
    candidates = np.sort(ranking[:pool])
    return np.concatenate([candidates[rank(distances[candidates])], ranking[pool:]])


def precision_at(relevant: Relevance, k: int) -> float:
    """Return the share of relevant results among the first k (the paper's precision@k, eq. 1)."""
    return float(relevant[:k].sum() / k)


def average_precision(relevant: Relevance) -> float:
    """Average the precision at each relevant position of a ranking `(n,)`; 0 without relevant results.

    Over a whole ranking that is AP; over its first 1,000 results it is AP@1000 of the hashing literature, divided by
    the relevant results among those 1,000 and not by all relevant images.
    """
    positions = np.flatnonzero(relevant)
    if not len(positions):
        return 0.0
    return float(np.mean(np.arange(1, len(positions) + 1) / (positions + 1)))


def ties(*distances: NDArray[np.integer | np.floating]) -> Ties:
    """Number groups of equal distances along a ranking, `(n,)` from 0; consecutive parts never tie with each other."""
    changes = [np.diff(part, prepend=np.nan) != 0 for part in distances]
    return np.cumsum(np.concatenate(changes)) - 1


def tie_aware_average_precision(relevant: Relevance, distances: NDArray[np.integer]) -> float:
    """Return the expectation of AP over random orders of ties (McSherry, Najork 2008).

    Args:
        relevant: `(n,)`, a whole ranking.
        distances: `(n,)`, ascending.
    """
    if not relevant.any():
        return 0.0
    first = np.flatnonzero(np.diff(distances, prepend=-1))
    sizes = np.diff(first, append=len(distances))
    hits = np.add.reduceat(relevant, first, dtype=np.float64)
    before = np.cumsum(hits) - hits
    # Expected additional hits for a relevant image, per position before it within its tie.
    slope = np.repeat((hits - 1) / np.maximum(sizes - 1, 1), sizes)
    places = np.arange(len(distances))
    found = np.repeat(before, sizes) + 1 + slope * (places - np.repeat(first, sizes))
    return float(np.sum(np.repeat(hits / sizes, sizes) * found / (places + 1)) / hits.sum())


def precision_within(relevant: Relevance, distances: NDArray[np.integer], radius: int) -> float | None:
    """Return the precision within a radius, `distances` ascending; None if nothing is within."""
    count = int(np.searchsorted(distances, radius, side="right"))
    return float(relevant[:count].mean()) if count else None


def precision_by_recall(relevant: Relevance, cuts: NDArray[np.int64] | None = None) -> Doubles:
    """Interpolate precision at recall 0, 0.05, … 1: the maximum precision at that recall or a higher one.

    Args:
        relevant: `(n,)`, a whole ranking.
        cuts: result counts after which the ranking may be cut, ascending to n. For codes these are the ends of radii,
            so that the order within ties does not count. Any count by default.
    """
    cuts = np.arange(1, len(relevant) + 1) if cuts is None else cuts
    return interpolated(np.cumsum(relevant, dtype=np.int64)[cuts - 1], cuts)


def interpolated(hits: NDArray[np.int64], cuts: NDArray[np.int64]) -> Doubles:
    """Interpolate precision at recall 0, 0.05, … 1 from relevant results `(c,)` at cuts `(c,)`."""
    if not hits[-1]:
        return np.zeros(RECALL_STEPS + 1)
    best = np.maximum.accumulate((hits / cuts)[::-1])[::-1]
    wanted = -(-np.arange(RECALL_STEPS + 1) * hits[-1] // RECALL_STEPS)
    return cast("Doubles", best[np.searchsorted(hits, wanted)])


def accuracy(logits: Floats, labels: NDArray[np.int64]) -> float:
    """Return the share of rows `(n, classes)` whose largest logit is at the label."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def retrieval(
    queries: tuple[Codes, Floats, NDArray[np.int64]],
    database: tuple[Codes, Floats, NDArray[np.int64]],
    *,
    k: int = 10,
    pool: int = 1000,
) -> dict[str, dict[str, float]]:
    """Measure the paper's three searches, HDS, BCS and ES, with labels as relevance.

    Args:
        queries: codes, F7 and labels of the queries.
        database: codes, F7 and labels of the database.
        k: number of results for precision.
        pool: candidates of the coarse search.

    Returns:
        By mode, `precision` at k and `map` over the whole database.
    """
    codes, features, labels = database
    sums = {mode: np.zeros(2) for mode in ("hds", "bcs", "es")}
    near = squared_distances(queries[1], features)
    for code, label, distances in zip(queries[0], queries[2], near, strict=True):
        coarse = rank_by_hamming(code, codes)
        rankings = {"hds": rerank(coarse, distances, pool), "bcs": coarse, "es": rank(distances)}
        for mode, ranking in rankings.items():
            relevant = labels[ranking] == label
            sums[mode] += precision_at(relevant, k), average_precision(relevant)
    means = {mode: (total / len(queries[2])).tolist() for mode, total in sums.items()}
    return {mode: {"precision": mean[0], "map": mean[1]} for mode, mean in means.items()}


@dataclass(frozen=True)
class CodeHealth:
    """Statistics of how well codes use their bits.

    Attributes:
        bits: units in the latent layer.
        dead: bits that are the same for 99.5 % of the images or more.
        nearly_dead: further bits that are the same for more than 95 %.
        entropy: mean entropy of a bit, in bits; 1 is best.
        correlation: mean absolute correlation between two bits, over bits that vary; 0 is best.
        distinct: number of distinct codes.
        pictures: number of images.
        colliding: images whose code is also that of an image of another class.
        ones: for each bit the share of images in which it is 1.
    """

    bits: int
    dead: int
    nearly_dead: int
    entropy: float
    correlation: float
    distinct: int
    pictures: int
    colliding: int
    ones: tuple[float, ...]


def code_health(codes: Codes, labels: NDArray[np.int64]) -> CodeHealth:
    """Compute statistics of codes `(n, bits / 8)` of images with labels `(n,)`."""
    bits = unpack(codes)
    ones = bits.mean(axis=0, dtype=np.float64)
    same = np.maximum(ones, 1 - ones)
    distinct, colliding = _collisions(codes, labels)
    return CodeHealth(
        bits=len(ones),
        dead=int((same >= DEAD).sum()),
        nearly_dead=int(((same > NEARLY_DEAD) & (same < DEAD)).sum()),
        entropy=float(np.mean([_entropy(share) for share in ones])),
        correlation=_mean_correlation(bits[:, same < 1].astype(np.float32)),
        distinct=distinct,
        pictures=len(codes),
        colliding=colliding,
        ones=tuple(ones.tolist()),
    )


def _lengths(vectors: Floats) -> Floats:
    return cast("Floats", np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))


def _scales(vectors: Floats, norm: Literal["raw", "unit"]) -> Floats:
    if norm == "raw":
        return np.ones(len(vectors), np.float32)
    return cast("Floats", 1 / np.maximum(_lengths(vectors), np.float32(1e-12)))


def _entropy(share: float) -> float:
    return float(-sum(p * np.log2(p) for p in (share, 1 - share) if p > 0))


def _mean_correlation(bits: Floats) -> float:
    count = bits.shape[1]
    if count <= 1:
        return 0.0
    absolute = np.abs(np.corrcoef(bits, rowvar=False))
    return float((absolute.sum() - count) / (count * (count - 1)))


def _collisions(codes: Codes, labels: NDArray[np.int64]) -> tuple[int, int]:
    distinct, which = np.unique(codes, axis=0, return_inverse=True)
    pairs = np.unique(np.stack([which, labels], axis=1), axis=0)
    classes_of_code = np.bincount(pairs[:, 0], minlength=len(distinct))
    return len(distinct), int((classes_of_code[which] > 1).sum())
