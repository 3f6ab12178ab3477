"""How good a ranking is, and how well codes use their bits.

An image is relevant to a query when both have the same label (Lin et al. 2015, section 4.2). Measures take one query
at a time, as `relevant`: `(n,)` bool, the ranking from best to worst. Knows nothing of networks or files.
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
# A bit is dead when this share of images, or more, has the same value in it, and nearly dead from the second on.
DEAD, NEARLY_DEAD = 0.995, 0.95
# Queries compared at a time: a block of distances to 50,000 images then takes 13 MB.
_BLOCK = 64


def rank(distances: NDArray[np.integer | np.floating]) -> Ranking:
    """Order by distance `(n,)`, ties by position; returns `(n,)` positions."""
    if distances.dtype != np.float32:
        return np.argsort(distances, kind="stable")
    # NumPy sorts whole numbers several times as fast as it orders floats stably: each distance's bits, turned so that
    # they grow with it, above its position.
    bits = (distances + np.float32(0)).view(np.uint32)
    growing = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys = np.sort(growing << np.uint64(32) | np.arange(len(distances), dtype=np.uint64))
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def rank_by_hamming(query: Codes, codes: Codes) -> Ranking:
    """Order codes `(n, bits / 8)` by Hamming distance to one, ties by position; returns `(n,)` positions."""
    return rank(hamming(query, codes).astype(np.int16))  # NumPy sorts short integers in linear time


def squared_distances(queries: Floats, features: Floats, norm: Literal["raw", "unit"] = "raw") -> Iterator[Floats]:
    """Yield, for each of `(q, d)`, its squared L2 distances `(n,)` to `(n, d)`, less the query's own square.

    What is left out is the same for all of one query's distances, so the order is right. |x|² − 2qx is a matrix
    product in float32: fast, and for distances far below the lengths of the vectors less exact than (q − x)².
    """
    scales, query_scales = _scales(features, norm), _scales(queries, norm)
    squares = np.square(_lengths(features) * scales)
    for first in range(0, len(queries), _BLOCK):
        some = slice(first, first + _BLOCK)
        yield from squares - 2 * scales * query_scales[some, None] * (queries[some] @ features.T)


def rerank(ranking: Ranking, distances: Floats, pool: int) -> Ranking:
    """Put the first `pool` of a ranking in order of L2 distance: the paper's fine step, section 3.3.

    What lies behind the pool stays as it is.
    """
    candidates = np.sort(ranking[:pool])
    return np.concatenate([candidates[rank(distances[candidates])], ranking[pool:]])


def precision_at(relevant: Relevance, k: int) -> float:
    """Return the share of relevant ones among the first k of a ranking (the paper's precision@k, eq. 1)."""
    return float(relevant[:k].sum() / k)


def average_precision(relevant: Relevance) -> float:
    """Average the precision at each relevant position of a ranking `(n,)`; 0 where nothing is relevant.

    Of a whole ranking that is AP; of its first 1,000 it is AP@1000 as the hashing literature has it, divided by the
    relevant ones among those 1,000 and not by all there are.
    """
    positions = np.flatnonzero(relevant)
    if not len(positions):
        return 0.0
    return float(np.mean(np.arange(1, len(positions) + 1) / (positions + 1)))


def ties(*distances: NDArray[np.integer | np.floating]) -> Ties:
    """Number the groups of equal distances along a ranking, `(n,)` from 0; parts follow each other and never tie."""
    changes = [np.diff(part, prepend=np.nan) != 0 for part in distances]
    return np.cumsum(np.concatenate(changes)) - 1


def tie_aware_average_precision(relevant: Relevance, distances: NDArray[np.integer]) -> float:
    """Return AP's expectation when equal distances come in random order (McSherry, Najork 2008).

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
    # A relevant image at a place expects this many more hits for each place before it in its tie.
    slope = np.repeat((hits - 1) / np.maximum(sizes - 1, 1), sizes)
    places = np.arange(len(distances))
    found = np.repeat(before, sizes) + 1 + slope * (places - np.repeat(first, sizes))
    return float(np.sum(np.repeat(hits / sizes, sizes) * found / (places + 1)) / hits.sum())


def precision_within(relevant: Relevance, distances: NDArray[np.integer], radius: int) -> float | None:
    """Return the share of relevant ones within a distance, `distances` ascending; None where nothing is within."""
    count = int(np.searchsorted(distances, radius, side="right"))
    return float(relevant[:count].mean()) if count else None


def precision_by_recall(relevant: Relevance, cuts: NDArray[np.int64] | None = None) -> Doubles:
    """Interpolate precision at recall 0, 0.05, … 1: the best precision at that recall or a greater one.

    Args:
        relevant: `(n,)`, a whole ranking.
        cuts: after how many results the ranking may be cut, ascending to n: for codes where a radius ends, so that
            the order within ties does not count; anywhere by default.
    """
    cuts = np.arange(1, len(relevant) + 1) if cuts is None else cuts
    return interpolated(np.cumsum(relevant, dtype=np.int64)[cuts - 1], cuts)


def interpolated(hits: NDArray[np.int64], cuts: NDArray[np.int64]) -> Doubles:
    """Interpolate precision at recall 0, 0.05, … 1, given how many are relevant `(c,)` at each cut `(c,)`."""
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
    """Measure the paper's three ways to search, HDS, BCS and ES, with labels as relevance.

    Args:
        queries: codes, F7 and labels of the queries.
        database: the same of what is searched.
        k: how far precision looks.
        pool: candidates that the coarse step hands to the fine one.

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
    """How well codes use their bits.

    Attributes:
        bits: units in the latent layer.
        dead: bits that are the same for 99.5 % of the images or more.
        nearly_dead: further bits that are the same for more than 95 %.
        entropy: of a bit, mean, in bits; 1 is best.
        correlation: between two bits, mean of the absolute values, over bits that vary; 0 is best.
        distinct: different codes.
        images: how many were looked at.
        colliding: images whose code an image of another class has too.
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
    """Looks at codes `(n, bits / 8)` of images with labels `(n,)`."""
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
