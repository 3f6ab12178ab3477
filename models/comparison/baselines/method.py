"""Protocol of the methods, and helpers: sampling of labelled images and pairs, packing of bits."""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.network.codes import Codes, Floats

Labels = NDArray[np.int64]
T = TypeVar("T")


class MethodError(ModelError):
    """A method does not support these images or this code length."""


class Method(Protocol):
    """A hashing method."""

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from features `(n, d)` float32, and from labels `(n,)` if the method uses them.

        Raises:
            MethodError: these features or labels are not sufficient.
        """

    def codes(self, features: Floats) -> Codes:
        """Return codes `(n, ⌈bits / 8⌉)` of features `(n, d)`; deterministic."""


def require_fitted(learnt: T | None) -> T:
    """Return a fitted parameter.

    Raises:
        MethodError: it has not been fitted.
    """
    if learnt is None:
        raise MethodError("The method is not fitted: call fit first.")
    return learnt


def pack_bits(projected: NDArray[np.floating]) -> Codes:
    """Pack `(n, bits)` into codes: 1 where positive; the last byte is padded with zeros, which changes no distance."""
    return np.packbits(projected > 0, axis=1)


def require_labels(labels: Labels | None, method: str) -> Labels:
    """Return the labels of a supervised method.

    Raises:
        MethodError: there are none, or all are the same.
    """
    if labels is None:
        raise MethodError(f"{method} needs labels, but these images have none.")
    if len(np.unique(labels)) == 1:
        raise MethodError(f"{method} needs two or more classes, but these images have one.")
    return labels


def stratified_sample(labels: Labels, most: int, seed: int) -> NDArray[np.int64]:
    """Return at most `most` random positions, equally many of each class as long as it has more."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turns[members] = np.arange(len(members))
    return order[np.argsort(turns[order], kind="stable")][:most]


def sample_pairs(labels: Labels, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw pairs of positions; every second pair is of one class, the others are arbitrary."""
    left, right = rng.integers(0, len(labels), (2, count))
    by_label = np.argsort(labels, kind="stable")
    starts, ends = (np.searchsorted(labels[by_label], labels[left[::2]], side=side) for side in ("left", "right"))
    right[::2] = by_label[rng.integers(starts, ends)]
    return left, right
