"""Toy features: classes that differ in a few directions and vary far more in others, as images do."""

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


def toy(count: int = 600, dim: int = 24, telling: int = 6, noise: float = 3.0, seed: int = 0) -> Toy:
    """Draw from the same classes at every seed; `noise` is how far they vary in the directions that tell nothing."""
    centres = np.random.default_rng(99).normal(size=(CLASSES, telling)) * 2
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    features = rng.normal(size=(count, dim)) * noise
    features[:, :telling] = centres[labels] + rng.normal(size=(count, telling)) * 0.7
    return Toy(features.astype(np.float32) + 1, labels.astype(np.int64))


def encoded_split(data: Toy) -> EncodedSplit:
    """Toy features as what a comparison reads; nobody asks for the network's own codes."""
    return EncodedSplit(data.features, data.labels, np.empty((len(data.labels), 1), np.uint8), unreadable=0)


def bits_of(codes: Codes, bits: int) -> NDArray[np.uint8]:
    return np.unpackbits(codes, axis=1)[:, :bits]


def mean_precision(method: Method, bits: int) -> float:
    """Learn from 600, and returns the mAP of 200 others that ask among them."""
    database, queries = toy(), toy(200, seed=1)
    method.fit(database.features, database.labels)
    relevant = [np.flatnonzero(database.labels == label) for label in queries.labels]
    codes = method.codes(queries.features), method.codes(database.features)
    return float(histograms.average_precision(histograms.count(*codes, relevant, bits)).mean())
