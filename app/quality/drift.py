"""Whether the newest pictures are of another kind than those before them, so that the network may suit them less.

The effect is how far the means of the two groups lie apart, measured in the spread of a single picture about its
group's mean. What chance alone would put between the means of groups so large is taken off first, and what lies within
three standard errors of it is called nothing; both follow from the spread in every direction, so nothing has to be
shuffled to know them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.quality.content import NO_LABEL, Content
from models.network.codes import unpack

NEWEST = 0.1
# Fewer of the newest tell nothing.
FEWEST = 10
_MOST_NEW, _MOST_OLD = 2000, 5000
_NONE, _STRONG = "no drift to speak of", "a strong drift"
_WORDS = ((0.1, _NONE), (0.25, "a slight drift"), (0.5, "a clear drift"))
_ERRORS = 3.0
_SHOWN = 20


def drift(content: Content, vectors: VectorFile) -> dict[str, Any] | None:
    """Compares the newest tenth with the rest; None where there are too few pictures."""
    first_new = len(content) - int(len(content) * NEWEST)
    if len(content) - first_new < FEWEST:
        return None
    old, new = _some(0, first_new, _MOST_OLD), _some(first_new, len(content), _MOST_NEW)
    features = effect(content.features(vectors, old), content.features(vectors, new))
    bits = [unpack(content.entries.codes[rows]).astype(np.float32) for rows in (old, new)]
    codes = effect(*bits)
    return {
        "newest": len(content) - first_new,
        "features": features.size,
        "codes": codes.size,
        "bits_moved": float(np.abs(bits[1].mean(axis=0) - bits[0].mean(axis=0)).mean()),
        "in_words": in_words(features),
        "new_labels": _new_labels(content, first_new),
    }


@dataclass(frozen=True)
class Effect:
    """How far two means lie apart, in spreads of one row about its group's mean; and whether chance may make that."""

    size: float
    by_chance: bool


def effect(old: NDArray[np.float32], new: NDArray[np.float32]) -> Effect:
    """Compares the means of `(n, d)` and `(m, d)`."""
    inside = np.concatenate([group - group.mean(axis=0) for group in (old, new)])
    covariance = inside.T @ inside / np.float32(max(len(inside) - 2, 1))
    spread, between = float(np.trace(covariance)), float(np.square(new.mean(axis=0) - old.mean(axis=0)).sum())
    if not spread:
        return Effect(float(between > 0), by_chance=not between)
    # Of a sum of squares of normal deviates, the mean is the trace and the variance twice that of the square.
    chance = 1 / len(old) + 1 / len(new)
    error = chance * float(np.sqrt(2 * np.square(covariance).sum()))
    beyond = between - chance * spread
    return Effect(float(np.sqrt(max(beyond, 0.0) / spread)), by_chance=beyond < _ERRORS * error)


def in_words(found: Effect) -> str:
    """Says what an effect means."""
    if found.by_chance:
        return _NONE
    return next((words for limit, words in _WORDS if found.size < limit), _STRONG)


def _some(first: int, last: int, most: int) -> NDArray[np.int64]:
    """Returns rows of a range, spread evenly where there are too many."""
    return np.unique(np.linspace(first, last - 1, min(last - first, most)).astype(np.int64))


def _new_labels(content: Content, first_new: int) -> list[dict[str, Any]]:
    """Names the labels that only the newest pictures have, the most frequent first."""
    before, newest = content.labels[:first_new], content.labels[first_new:]
    only = np.setdiff1d(newest[newest != NO_LABEL], before)
    counts = sorted(((int((newest == label).sum()), content.names[label]) for label in only), reverse=True)
    return [{"label": name, "pictures": count} for count, name in counts[:_SHOWN]]
