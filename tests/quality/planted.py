"""Synthetic catalogues with known neighbours: vectors clustered around centres, and codes from random projections."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.quality.content import CatalogueContent
from app.search.types import IndexEntries
from models.network.codes import binarise

DIM, BITS = 24, 32


def around_centres(count: int, centres: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors `(count, DIM)` around centres, and the index of each one's centre."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, centres, count)
    spread = rng.normal(size=(count, DIM))
    return (6 * rng.normal(size=(centres, DIM))[labels] + spread).astype(np.float32), labels


def codes_of(features: NDArray[np.float32], bits: int = BITS) -> NDArray[np.uint8]:
    """Return the signs of random projections, so that near vectors have near codes."""
    planes = np.random.default_rng(1).normal(size=(features.shape[1], bits))
    return binarise((features @ planes > 0).astype(np.float32))


@contextmanager
def planted(
    folder: Path, features: NDArray[np.float32], codes: NDArray[np.uint8], labels: NDArray[np.int64], names: int
) -> Iterator[tuple[CatalogueContent, VectorFile]]:
    """Write the vectors to a file; yields the catalogue's content and the file."""
    with closing(VectorFile(folder / "planted.f32", features.shape[1])) as vectors:
        ids = np.arange(1, len(features) + 1)
        slots = np.random.default_rng(2).permutation(len(features))
        checksums = vectors.write(slots, features)
        entries = IndexEntries(ids, codes, slots.astype(np.int64), checksums)
        yield CatalogueContent(entries, labels, tuple(f"label {at}" for at in range(names))), vectors
