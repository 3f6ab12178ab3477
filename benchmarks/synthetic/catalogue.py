"""Synthetic catalogues: F7 and codes of any number of images, reproducible and distributed like real ones.

An image's F7 is what a ReLU leaves of its cluster's centre, a direction within the cluster and noise:
relu(c + s (Z A + 0.6 e)), with c and the rows of A normal and Z of 12 numbers, so that neighbours within a cluster
differ along few directions, as images of one kind do. The spread s is 1 for a network trained without labels. Training
with labels pulls the images of a class together: with s = 0.6 two codes of 128 bits in one cluster differ in 2 (4096
floats) to 5 bits (1280) on average; in one class of the network `clothing` they differ in 2.5 among training images,
and in 5.7 among others. There are 116 clusters of unequal size, as many as the paper's clothing data has categories.
Codes are computed with ITQ fitted to a sample, as in `lookalike fit`. Queries have the same distribution, and are not
in the catalogue.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.network.codes import Codes, Floats
from models.training.itq import itq

CLUSTERS = 116
DIRECTIONS = 12
SAMPLE = 8000
UNTAUGHT, TAUGHT = 1.0, 0.6
_AT_A_TIME = 8192


@dataclass(frozen=True)
class SyntheticCatalogue:
    """A synthetic catalogue.

    Attributes:
        images: number of images.
        dim: floats in F7.
        bits: bits of a code.
        spread: spread of a cluster, relative to a network trained without labels.
        seed: random seed.
    """

    images: int
    dim: int
    bits: int
    spread: float = UNTAUGHT
    seed: int = 0

    def blocks(self) -> Iterator[tuple[Codes, Floats]]:
        """Yield codes `(n, bits / 8)` and F7 `(n, dim)`, some thousand images at a time."""
        for _, codes, features in self.blocks_from(0):
            yield codes, features

    def blocks_from(self, image: int) -> Iterator[tuple[int, Codes, Floats]]:
        """Yield blocks from the one with this image on, each with the number of its first image."""
        for number in range(image // _AT_A_TIME, -(-self.images // _AT_A_TIME)):
            first = number * _AT_A_TIME
            features = self._draw(min(_AT_A_TIME, self.images - first), (1, number))
            yield first, self.codes(features), features

    def queries(self, count: int) -> tuple[Codes, Floats]:
        """Return codes and F7 of images outside the catalogue."""
        features = self._draw(count, (2, 0))
        return self.codes(features), features

    def codes(self, features: Floats) -> Codes:
        """Return the codes of F7 `(n, dim)`."""
        weights, biases = self._hyperplanes
        return np.packbits(features @ weights.T + biases > 0, axis=1)

    @cached_property
    def _hyperplanes(self) -> tuple[Floats, Floats]:
        return itq(self._draw(SAMPLE, (3, 0)), self.bits, self.seed)

    @cached_property
    def _clusters(self) -> tuple[Floats, Floats, NDArray[np.float64]]:
        rng = np.random.default_rng((self.seed, 0))
        centres = rng.standard_normal((CLUSTERS, self.dim), np.float32)
        directions = rng.standard_normal((CLUSTERS, DIRECTIONS, self.dim), np.float32) / np.sqrt(DIRECTIONS)
        shares = rng.dirichlet(np.full(CLUSTERS, 2.0))
        return centres, directions.astype(np.float32), shares

    def _draw(self, count: int, stream: tuple[int, int]) -> Floats:
        centres, directions, shares = self._clusters
        rng = np.random.default_rng((self.seed, *stream))
        members = rng.choice(CLUSTERS, count, p=shares)
        features = rng.standard_normal((count, self.dim), np.float32)
        features *= np.float32(0.6 * self.spread)
        features += centres[members]
        within = rng.standard_normal((count, DIRECTIONS), np.float32) * np.float32(self.spread)
        for cluster in np.unique(members):
            here = members == cluster
            features[here] += within[here] @ directions[cluster]
        return np.maximum(features, 0, out=features)
