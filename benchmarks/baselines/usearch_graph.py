"""usearch: HNSW over F7 with default parameters except the effort."""

from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.baselines.base import Catalogue, Ids, Query


class Usearch:
    """HNSW; the effort is `expansion_search`."""

    name = "usearch"
    efforts = (16, 32, 64, 128, 256, 512)

    def build(self, catalogue: Catalogue) -> None:
        """Build the graph on all cores."""
        usearch = import_module("usearch.index")
        self._index: Any = usearch.Index(ndim=catalogue.features.shape[1], metric="l2sq", dtype="f32")
        self._index.add(np.arange(len(catalogue.features)), catalogue.features)

    def search(self, query: Query, k: int, effort: int) -> Ids:
        """Search by F7 in one thread."""
        self._index.expansion_search = effort
        return np.asarray(self._index.search(query.feature, k, threads=1).keys, np.int64)

    def memory(self) -> int:
        """Return the memory use that usearch reports."""
        return int(self._index.memory_usage)

    def close(self) -> None:
        """Free the index."""
        del self._index
