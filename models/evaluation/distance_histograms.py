"""Retrieval measures of codes from histograms: images, and relevant images, at each Hamming distance.

There are few distances, so histograms determine a query's ranking except for the order within ties. Every measure is
the expectation over random orders of ties. Nothing is sorted, and a query among 60,000 images costs a fraction of a
millisecond.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import RECALL_STEPS, interpolated
from models.network.codes import Codes

Counts = NDArray[np.int64]
Doubles = NDArray[np.float64]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class DistanceHistograms:
    """Histograms of queries over Hamming distances, `(q, bits + 1)` each.

    Attributes:
        hits: relevant images.
        sizes: all images.
    """

    hits: Counts
    sizes: Counts


def count(queries: Codes, database: Codes, relevant: Sequence[Positions], bits: int) -> DistanceHistograms:
    """Count images by distance, for queries `(q, bytes)` among `(n, bytes)`; `relevant` has each query's positions."""
    searched = words(database)
    hits, sizes = (np.zeros((len(queries), bits + 1), np.int64) for _ in range(2))
    for row, code in enumerate(words(queries).T):
        distances = np.bitwise_count(searched[0] ^ code[0])
        for column, word in zip(searched[1:], code[1:], strict=True):
            # A distance over 255 bits does not fit a byte.
            distances = distances.astype(np.uint16) + np.bitwise_count(column ^ word)
        sizes[row] = np.bincount(distances, minlength=bits + 1)
        hits[row] = np.bincount(distances[relevant[row]], minlength=bits + 1)
    return DistanceHistograms(hits, sizes)


def words(codes: Codes) -> NDArray[np.uint64]:
    """Reinterpret codes `(n, bytes)` as 64-bit words `(words, n)`; the last is padded with zeros."""
    padded = np.ascontiguousarray(np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8))))
    return np.ascontiguousarray(padded.view(np.uint64).T)


def average_precision(histograms: DistanceHistograms) -> Doubles:
    """Return AP `(q,)` over the whole ranking, McSherry and Najork's (2008) in closed form; 0 without relevant images.

    Within a tie, the expected number of relevant images up to position p is linear in p; the sum over positions of a
    linear function divided by p is a term in the number of positions and one in harmonic numbers.
    """
    hits, sizes = histograms.hits.astype(np.float64), histograms.sizes
    ends = np.cumsum(sizes, axis=1)
    first = ends - sizes
    before = np.cumsum(hits, axis=1) - hits
    slope = np.where(sizes > 1, (hits - 1) / np.maximum(sizes - 1, 1), 0.0)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, ends.max() + 1))])
    start = before + 1 - slope * first
    summed = slope * sizes + (start - slope) * (harmonic[ends] - harmonic[first])
    found: Doubles = np.sum(hits / np.maximum(sizes, 1) * summed, axis=1) / np.maximum(hits.sum(axis=1), 1)
    return found


def precision_at(histograms: DistanceHistograms, ks: Sequence[int]) -> Doubles:
    """Return precision@k `(q, k)` for each k; within a tie relevant images are spread evenly."""
    edges = np.pad(np.cumsum(histograms.sizes, axis=1), ((0, 0), (1, 0)))
    found = np.pad(np.cumsum(histograms.hits, axis=1), ((0, 0), (1, 0)))
    within = np.stack([np.interp(ks, *line) for line in zip(edges, found, strict=True)])
    precision: Doubles = within / np.array(ks)
    return precision


def precision_within(histograms: DistanceHistograms, radius: int) -> Doubles:
    """Return the precision `(q,)` within a Hamming radius; 0 where nothing is within."""
    hits, sizes = (some[:, : radius + 1].sum(axis=1) for some in (histograms.hits, histograms.sizes))
    share: Doubles = hits / np.maximum(sizes, 1)
    return share


def precision_by_recall(histograms: DistanceHistograms) -> Doubles:
    """Return the mean over queries of precision at recall 0, 0.05, … 1, cut where a radius ends."""
    total = np.zeros(RECALL_STEPS + 1)
    for hits, cuts in zip(np.cumsum(histograms.hits, axis=1), np.cumsum(histograms.sizes, axis=1), strict=True):
        total += interpolated(hits[cuts > 0], cuts[cuts > 0])
    mean: Doubles = total / len(histograms.hits)
    return mean
