"""Benchmark against alternative vector search engines, on the same vectors in the same run.

Each engine indexes the same synthetic catalogue and answers the same queries, one at a time. The lowest effort whose
recall@10 against exhaustive exact search reaches 0.95 is timed, interleaved with the exhaustive search. Engines that
are not installed are skipped with a reason (`pip install -e '.[bench]'`).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np

from benchmarks.baselines.base import Baseline, Catalogue, Ids, Query
from benchmarks.baselines.faiss_indexes import Hnsw, IvfPq
from benchmarks.baselines.lookalike import Lookalike
from benchmarks.baselines.milvus import MilvusLite
from benchmarks.baselines.pgvector import PgvectorCodes, PgvectorGraph
from benchmarks.baselines.usearch_graph import Usearch
from benchmarks.measure import time_interleaved
from benchmarks.options import Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from models.network.codes import Floats

BASELINES: tuple[Callable[[], Baseline], ...] = (
    Lookalike,
    Hnsw,
    IvfPq,
    Usearch,
    PgvectorCodes,
    PgvectorGraph,
    MilvusLite,
)
PICTURES, DIM, BITS, QUERIES, K, RECALL = 100_000, 1280, 128, 200, 10, 0.95
Queries = Sequence[Query]
# F7 in memory, and again in an index that copies it, with its graph.
_COPIES = 3


def run(options: Options, say: Say) -> Results:
    """Measure every engine, one after the other, so that they do not share memory."""
    images, dim = options.images or PICTURES, (options.floats or (DIM,))[0]
    results = Results("peers", {"pictures": images, "floats": dim, "bits": BITS, "k": K, "recall": RECALL})
    if lack := space_shortage(options.folder, images * dim * 4 * _COPIES):
        results.skip("peers", lack)
        return results
    made = SyntheticCatalogue(images, dim, BITS)
    say(f"making {images:,} pictures")
    blocks = list(made.blocks())
    codes, features = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    drawn = made.queries(QUERIES)
    queries = [Query(*one) for one in zip(*drawn, strict=True)]
    _, truth = faiss.knn(drawn[1], features, K)
    for make in BASELINES:
        with TemporaryDirectory(dir=options.folder) as folder:
            catalogue = Catalogue(codes, features, Path(folder))
            measure_baseline(results, make(), catalogue, queries, truth, say)
    return results


def measure_baseline(
    results: Results, baseline: Baseline, catalogue: Catalogue, queries: Queries, truth: Ids, say: Say
) -> None:
    """Build an index, find the effort for the wanted recall, and time it against exhaustive search."""
    say(baseline.name)
    started = time.perf_counter()
    try:
        baseline.build(catalogue)
    except ImportError as missing:
        results.skip(baseline.name, f"{missing.name} is not installed: pip install -e '.[bench]'")
        return
    with closing(baseline):
        results.value(f"{baseline.name}: build", time.perf_counter() - started, "s")
        for effort in baseline.efforts:
            recall = recall_at(baseline, queries, truth, effort)
            if recall >= RECALL:
                break
        timings = time_interleaved(
            {
                "baseline": lambda turn: baseline.search(queries[turn % QUERIES], K, effort),
                "es": lambda turn: exhaustive(queries[turn % QUERIES].feature, catalogue.features),
            }
        )
        results.value(f"{baseline.name}: recall@{K}, effort {effort}", recall, "recall")
        results.time(f"{baseline.name}: search", timings["baseline"])
        results.ratio(f"{baseline.name}: es over it", timings["es"].median, timings["baseline"].median)
        held = baseline.memory()
        if held is not None:
            results.value(f"{baseline.name}: memory a picture", held / len(catalogue.codes), "bytes")


def recall_at(baseline: Baseline, queries: Queries, truth: Ids, effort: int) -> float:
    """Return the recall of true nearest neighbours."""
    found = [baseline.search(query, K, effort) for query in queries]
    return float(np.mean([np.isin(right, some).mean() for right, some in zip(truth, found, strict=True)]))


def exhaustive(query: Floats, features: Floats) -> object:
    """Run exhaustive search in one thread, as FAISS does for a single query."""
    faiss.omp_set_num_threads(1)
    return faiss.knn(query[None], features, K)
