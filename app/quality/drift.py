"""Drift detection: how far the newest images differ from the older ones in F7 and codes.

The effect size is the distance between the means of the two groups, in units of the spread of a single image about its
group's mean. The expected distance by chance for groups of these sizes is subtracted first, and an effect within three
standard errors of it counts as none. Both follow from the covariance, so no permutation test is needed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.quality.content import NO_LABEL, CatalogueContent
from models.network.codes import unpack

NEWEST = 0.1
# With fewer new images the comparison is too noisy.
MIN_NEW = 10
_MAX_NEW, _MAX_OLD = 2000, 5000
_NONE, _STRONG = "no noticeable drift", "strong drift"
_DESCRIPTIONS = ((0.1, _NONE), (0.25, "slight drift"), (0.5, "clear drift"))
_MIN_STANDARD_ERRORS = 3.0
_MAX_LISTED = 20


def drift(content: CatalogueContent, vectors: VectorFile) -> dict[str, Any] | None:
    """Compare the newest tenth of the images with the rest; None if there are too few."""
    first_new = len(content) - int(len(content) * NEWEST)
    if len(content) - first_new < MIN_NEW:
        return None
    old, new = _sample_rows(0, first_new, _MAX_OLD), _sample_rows(first_new, len(content), _MAX_NEW)
    features = effect(content.features(vectors, old), content.features(vectors, new))
    bits = [unpack(content.entries.codes[rows]).astype(np.float32) for rows in (old, new)]
    codes = effect(*bits)
    return {
        "newest": len(content) - first_new,
        "features": features.size,
        "codes": codes.size,
        "bits_moved": float(np.abs(bits[1].mean(axis=0) - bits[0].mean(axis=0)).mean()),
        "in_words": describe(features),
        "new_labels": _new_labels(content, first_new),
    }


@dataclass(frozen=True)
class Effect:
    """Distance between two means, in spreads of one row about its group's mean; and whether it may be chance."""

    size: float
    by_chance: bool


def effect(old: NDArray[np.float32], new: NDArray[np.float32]) -> Effect:
    """Compute the effect size between the means of `(n, d)` and `(m, d)`."""
    centred = np.concatenate([group - group.mean(axis=0) for group in (old, new)])
    covariance = centred.T @ centred / np.float32(max(len(centred) - 2, 1))
    spread, between = float(np.trace(covariance)), float(np.square(new.mean(axis=0) - old.mean(axis=0)).sum())
    if not spread:
        return Effect(float(between > 0), by_chance=not between)
    # The sum of squares of normal deviates has the mean tr(C) and the variance 2 tr(C²).
    scale = 1 / len(old) + 1 / len(new)
    error = scale * float(np.sqrt(2 * np.square(covariance).sum()))
    excess = between - scale * spread
    return Effect(float(np.sqrt(max(excess, 0.0) / spread)), by_chance=excess < _MIN_STANDARD_ERRORS * error)


def describe(found: Effect) -> str:
    """Return an effect's strength as a phrase for the report."""
    if found.by_chance:
        return _NONE
    return next((description for limit, description in _DESCRIPTIONS if found.size < limit), _STRONG)


def _sample_rows(first: int, last: int, size: int) -> NDArray[np.int64]:
    """Return rows of a range, at most `size` of them, evenly spaced."""
    return np.unique(np.linspace(first, last - 1, min(last - first, size)).astype(np.int64))


def _new_labels(content: CatalogueContent, first_new: int) -> list[dict[str, Any]]:
    """List the labels that only the newest images have, most frequent first."""
    old, new = content.labels[:first_new], content.labels[first_new:]
    only_new = np.setdiff1d(new[new != NO_LABEL], old)
    counts = sorted(((int((new == label).sum()), content.names[label]) for label in only_new), reverse=True)
    return [{"label": name, "pictures": count} for count, name in counts[:_MAX_LISTED]]
