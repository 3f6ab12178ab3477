"""Labels that are confused, and images whose label is probably wrong: k nearest neighbours, leave-one-out.

F7 should come from a network that did not learn these labels: a network that did has learnt the wrong ones too. After
Cover and Hart: Nearest Neighbor Pattern Classification, 1967; and Wilson's editing rule, 1972, which drops images whose
neighbours disagree.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import squared_distances
from models.network.codes import Floats

Positions = NDArray[np.int64]

K = 10
# Neighbours of one other label, and of the image's own, from which its label is probably wrong.
MIN_OTHER, MAX_OWN = 0.8, 0.0
# Of a label with fewer images, too few neighbours can have the same label.
MIN_IMAGES = 5
MAX_LISTED = 50


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        query: its position among the queries.
        label: its label.
        suggested: the label of most of its neighbours.
        votes: how many of the neighbours have that label.
    """

    query: int
    label: int
    suggested: int
    votes: int


@dataclass(frozen=True)
class Confusion:
    """Two labels, and how many of the first's images have more neighbours of the second than of their own."""

    label: int
    other: int
    images: int
    of: int


def nearest(features: Floats, k: int = K) -> Positions:
    """Return the k nearest other rows `(n, k)` of each row of F7 `(n, d)`, by cosine, the nearest first."""
    k = min(k, len(features) - 1)
    found = np.empty((len(features), k), np.int64)
    for row, distances in enumerate(squared_distances(features, features, "unit")):
        distances[row] = np.inf
        some = np.argpartition(distances, k - 1)[:k] if k else np.zeros(0, np.int64)
        found[row] = some[np.argsort(distances[some], kind="stable")]
    return found


def find_suspects(own: Positions, of_neighbours: Positions, sizes: Positions) -> list[Suspect]:
    """List images whose neighbours agree on another label, the surest first, at most `MAX_LISTED`.

    Args:
        own: labels `(q,)` of the queries; negative ones are unknown.
        of_neighbours: labels `(q, k)` of their neighbours.
        sizes: number of images of each label.
    """
    k = of_neighbours.shape[1]
    found = []
    for query, (label, votes) in enumerate(zip(own.tolist(), of_neighbours.tolist(), strict=True)):
        if label < 0 or sizes[label] < MIN_IMAGES:
            continue
        other, count = _most_common(votes)
        if other not in (label, -1) and count >= MIN_OTHER * k and votes.count(label) <= MAX_OWN * k:
            found.append(Suspect(query, label, other, count))
    return sorted(found, key=lambda one: (-one.votes, one.query))[:MAX_LISTED]


def find_confusions(own: Positions, of_neighbours: Positions) -> list[Confusion]:
    """List pairs of labels whose images lie among each other, the most frequent first, at most `MAX_LISTED`."""
    counts: Counter[tuple[int, int]] = Counter()
    for label, votes in zip(own.tolist(), of_neighbours.tolist(), strict=True):
        other, count = _most_common(votes)
        if label >= 0 and other not in (label, -1) and count > votes.count(label):
            counts[label, other] += 1
    totals = Counter(own.tolist())
    pairs = [Confusion(label, other, images, totals[label]) for (label, other), images in counts.items()]
    return sorted(pairs, key=lambda one: (-one.images, one.label, one.other))[:MAX_LISTED]


def _most_common(votes: list[int]) -> tuple[int, int]:
    """Return the most common known label and its count; −1 and 0 if all are unknown."""
    known = Counter(vote for vote in votes if vote >= 0)
    return known.most_common(1)[0] if known else (-1, 0)
