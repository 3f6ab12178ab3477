"""What a team would pick instead, on the same vectors in the same run.

Each rival takes in the same made catalogue and answers the same queries, one at a time. For each the least effort is
sought whose recall@10, against exhaustive exact search, reaches 0.95; at that effort it is timed, in turns with the
exhaustive search. A rival whose package is missing is skipped and says so (`pip install -e '.[bench]'`).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np

from benchmarks.made import Made
from benchmarks.measure import side_by_side
from benchmarks.options import Options, Say, lack_of_room
from benchmarks.results import Results
from benchmarks.rivals.faiss_indexes import Hnsw, IvfPq
from benchmarks.rivals.lookalike import Lookalike
from benchmarks.rivals.milvus import MilvusLite
from benchmarks.rivals.pgvector import PgvectorCodes, PgvectorGraph
from benchmarks.rivals.rival import Catalogue, Ids, Query, Rival
from benchmarks.rivals.usearch_graph import Usearch
from models.network.codes import Floats

RIVALS: tuple[Callable[[], Rival], ...] = (
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
# F7 once in memory, and once again in each of the indexes that copy it, with its graph.
_COPIES = 3


def run(options: Options, say: Say) -> Results:
    """Tries every rival, one after the other, so that they do not share memory."""
    pictures, dim = options.pictures or PICTURES, (options.floats or (DIM,))[0]
    results = Results("peers", {"pictures": pictures, "floats": dim, "bits": BITS, "k": K, "recall": RECALL})
    if lack := lack_of_room(options.folder, pictures * dim * 4 * _COPIES):
        results.skip("peers", lack)
        return results
    made = Made(pictures, dim, BITS)
    say(f"making {pictures:,} pictures")
    blocks = list(made.blocks())
    codes, features = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    drawn = made.queries(QUERIES)
    queries = [Query(*one) for one in zip(*drawn, strict=True)]
    _, truth = faiss.knn(drawn[1], features, K)
    for make in RIVALS:
        with TemporaryDirectory(dir=options.folder) as folder:
            catalogue = Catalogue(codes, features, Path(folder))
            try_one(results, make(), catalogue, queries, truth, say)
    return results


def try_one(results: Results, rival: Rival, catalogue: Catalogue, queries: Queries, truth: Ids, say: Say) -> None:
    """Builds a rival, finds the effort that it needs, and times it beside exhaustive search."""
    say(rival.name)
    started = time.perf_counter()
    try:
        rival.build(catalogue)
    except ImportError as missing:
        results.skip(rival.name, f"{missing.name} is not installed: pip install -e '.[bench]'")
        return
    with closing(rival):
        results.value(f"{rival.name}: build", time.perf_counter() - started, "s")
        for effort in rival.efforts:
            recall = recall_at(rival, queries, truth, effort)
            if recall >= RECALL:
                break
        timings = side_by_side(
            {
                "rival": lambda turn: rival.search(queries[turn % QUERIES], K, effort),
                "es": lambda turn: exhaustive(queries[turn % QUERIES].feature, catalogue.features),
            }
        )
        results.value(f"{rival.name}: recall@{K}, effort {effort}", recall, "recall")
        results.time(f"{rival.name}: search", timings["rival"])
        results.ratio(f"{rival.name}: es over it", timings["es"].median, timings["rival"].median)
        held = rival.memory()
        if held is not None:
            results.value(f"{rival.name}: memory a picture", held / len(catalogue.codes), "bytes")


def recall_at(rival: Rival, queries: Queries, truth: Ids, effort: int) -> float:
    """Returns the share of the truly nearest that it finds."""
    found = [rival.search(query, K, effort) for query in queries]
    return float(np.mean([np.isin(right, some).mean() for right, some in zip(truth, found, strict=True)]))


def exhaustive(query: Floats, features: Floats) -> object:
    """Searches everything in one thread, as FAISS does for one query."""
    faiss.omp_set_num_threads(1)
    return faiss.knn(query[None], features, K)
