"""What all methods share: the protocol, which images pair-based ones learn from, and bits into bytes."""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.network.codes import Codes, Floats

Labels = NDArray[np.int64]
T = TypeVar("T")


class MethodError(ModelError):
    """A method cannot do what it is asked for with these images."""


class Method(Protocol):
    """A way to make codes."""

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from features `(n, d)` float32, and from labels `(n,)` if the method uses them.

        Raises:
            MethodError: these features or labels do not suffice.
        """

    def codes(self, features: Floats) -> Codes:
        """Return codes `(n, ⌈bits / 8⌉)` of features `(n, d)`, the same for the same features."""


def require_fitted(learnt: T | None) -> T:
    """Return what a method has learnt.

    Raises:
        MethodError: it has not learnt yet.
    """
    if learnt is None:
        raise MethodError("A method makes codes once it has learnt: call fit first.")
    return learnt


def pack_bits(projected: NDArray[np.floating]) -> Codes:
    """Pack `(n, bits)` into codes: 1 where positive; zeros fill the last byte, which changes no distance."""
    return np.packbits(projected > 0, axis=1)


def require_labels(labels: Labels | None, method: str) -> Labels:
    """Return the labels that a supervised method needs.

    Raises:
        MethodError: there are none, or all are the same.
    """
    if labels is None:
        raise MethodError(f"{method} learns from labels, and these images have none.")
    if len(np.unique(labels)) == 1:
        raise MethodError(f"{method} learns what tells classes apart, and all of these images are of one.")
    return labels


def stratified_sample(labels: Labels, most: int, seed: int) -> NDArray[np.int64]:
    """Return at most so many positions at random, equally many of each class as long as it has more."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turns[members] = np.arange(len(members))
    return order[np.argsort(turns[order], kind="stable")][:most]


def sample_pairs(labels: Labels, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw pairs of positions, every second of them of one class and the others whatever comes."""
    left, right = rng.integers(0, len(labels), (2, count))
    by_label = np.argsort(labels, kind="stable")
    starts, ends = (np.searchsorted(labels[by_label], labels[left[::2]], side=side) for side in ("left", "right"))
    right[::2] = by_label[rng.integers(starts, ends)]
    return left, right
