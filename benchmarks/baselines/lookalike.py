"""Lookalike's two-step search, through the service's index."""

import numpy as np

from app.catalogue.vectors.file import VectorFile
from app.search.local.index import LocalIndex
from app.search.types import IndexEntries
from benchmarks.baselines.base import Catalogue, Ids, Query


class Lookalike:
    """Coarse and fine search; the effort is the pool."""

    name = "lookalike, two steps"
    efforts = (100, 300, 1000, 3000, 10_000)

    def build(self, catalogue: Catalogue) -> None:
        """Write the vectors and load the codes."""
        slots = np.arange(len(catalogue.codes))
        self._vectors = VectorFile(catalogue.folder / "lookalike.f32", catalogue.features.shape[1])
        checksums = self._vectors.write(slots, catalogue.features)
        self._index = LocalIndex(8 * catalogue.codes.shape[1], self._vectors)
        self._index.add(IndexEntries(slots, catalogue.codes, slots, checksums))
        self._index.wait_for_lists()

    def search(self, query: Query, k: int, effort: int) -> Ids:
        """Run both steps."""
        pool = self._index.candidates(query.code, effort, None, None)
        return np.array([match.id for match in self._index.rank(query.feature, pool, k)])

    def memory(self) -> int:
        """Return the bytes of the codes; F7 is on disk, and in the page cache if there is room."""
        return self._index.code_bytes

    def close(self) -> None:
        """Close the vector file."""
        self._vectors.close()
