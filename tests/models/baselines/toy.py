"""Toy features: classes differ in a few directions and vary far more in others, as with images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.comparison.baselines.method import Labels, Method
from models.comparison.data import EncodedSplit
from models.evaluation import distance_histograms as histograms
from models.network.codes import Codes, Floats

CLASSES = 5


@dataclass(frozen=True)
class Toy:
    features: Floats
    labels: Labels


def toy(count: int = 600, dim: int = 24, informative: int = 6, noise: float = 3.0, seed: int = 0) -> Toy:
    """Draw features of the same classes at every seed; `noise` is the spread in uninformative directions."""
    centres = np.random.default_rng(99).normal(size=(CLASSES, informative)) * 2
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    features = rng.normal(size=(count, dim)) * noise
    features[:, :informative] = centres[labels] + rng.normal(size=(count, informative)) * 0.7
    return Toy(features.astype(np.float32) + 1, labels.astype(np.int64))


def encoded_split(data: Toy) -> EncodedSplit:
    """Wrap toy features as data of a comparison, without the network's own codes."""
    return EncodedSplit(data.features, data.labels, np.empty((len(data.labels), 1), np.uint8), unreadable=0)


def bits_of(codes: Codes, bits: int) -> NDArray[np.uint8]:
    return np.unpackbits(codes, axis=1)[:, :bits]


def mean_precision(method: Method, bits: int) -> float:
    """Fit a method to 600 images, and return the mAP of 200 other queries."""
    database, queries = toy(), toy(200, seed=1)
    method.fit(database.features, database.labels)
    relevant = [np.flatnonzero(database.labels == label) for label in queries.labels]
    codes = method.codes(queries.features), method.codes(database.features)
    return float(histograms.average_precision(histograms.count(*codes, relevant, bits)).mean())
