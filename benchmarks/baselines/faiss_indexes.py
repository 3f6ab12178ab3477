"""FAISS's indexes over F7: a graph (HNSW), and inverted lists with product quantisation and re-ranking.

Parameters follow FAISS's guidelines: 32 links per node, with efSearch as the effort; about 4·√n lists, fast-scan PQ
with two floats per four bits, and ten times as many candidates re-ranked by exact distance.
"""

import os
from typing import Any

import faiss
import numpy as np

from benchmarks.baselines.base import Catalogue, Ids, Query


class FaissIndex:
    """An index from FAISS's factory string, in which `{lists}` stands for about 4·√n."""

    name = ""
    efforts: tuple[int, ...] = ()
    factory = ""

    def build(self, catalogue: Catalogue) -> None:
        """Train and fill the index on all cores."""
        faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        factory = self.factory.format(lists=2 ** int(np.log2(4 * np.sqrt(len(catalogue.features)))))
        self._index: Any = faiss.index_factory(catalogue.features.shape[1], factory)
        self._index.train(catalogue.features)
        self._index.add(catalogue.features)
        faiss.omp_set_num_threads(1)
        self._effort = 0

    def parameters(self, effort: int) -> dict[str, int]:
        """Return the search parameters of an effort."""
        raise NotImplementedError

    def search(self, query: Query, k: int, effort: int) -> Ids:
        """Search by F7."""
        if effort != self._effort:
            space = faiss.ParameterSpace()
            for name, value in self.parameters(effort).items():
                space.set_index_parameter(self._index, name, value)
            self._effort = effort
        _, found = self._index.search(query.feature[None], k)
        return np.asarray(found[0], np.int64)

    def memory(self) -> int:
        """Return the bytes of the serialised index."""
        return len(faiss.serialize_index(self._index))

    def close(self) -> None:
        """Free the index."""
        del self._index


class Hnsw(FaissIndex):
    """HNSW over all vectors in memory; the effort is efSearch."""

    name = "FAISS HNSW"
    efforts = (16, 32, 64, 128, 256, 512)
    factory = "HNSW32,Flat"

    def parameters(self, effort: int) -> dict[str, int]:
        """Set efSearch."""
        return {"efSearch": effort}


class IvfPq(FaissIndex):
    """Inverted lists of quantised vectors with exact re-ranking; the effort is nprobe."""

    name = "FAISS IVF-PQ, re-ranked"
    efforts = (1, 2, 4, 8, 16, 32, 64, 128)
    factory = "IVF{lists},PQ160x4fs,RFlat"

    def parameters(self, effort: int) -> dict[str, int]:
        """Set nprobe, and re-ranks ten times as many as are wanted."""
        return {"nprobe": effort, "k_factor_rf": 10}
