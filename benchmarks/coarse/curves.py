"""Curves of recall@10 against time per query: FAISS HNSW over F7, and two steps with codes of several origins.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.coarse.curves [--images 100000] [--dim 1280] [--json FILE]

Every way answers the same queries over the same F7, one at a time in one thread. Shipped codes are fitted with ITQ to
other images, and ordered by Hamming distance; a network computes them with F7, so a query's code takes no time here.
Adapted codes are those that `lookalike adapt` fits to the catalogue's own F7, in asymmetric order unless named
otherwise; the projections of a query are part of its time. F7 of the fine step is in a vector file, as float32 or
float16; recall is that of the exact ten nearest in float32.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from app.adaptation.adapt import fit
from app.catalogue.vectors.file import VectorFile, VectorType
from app.quality.content import NO_LABEL, CatalogueContent
from app.search.local.index import LocalIndex
from app.search.pool import select_pool
from app.search.types import Ids, IndexEntries
from benchmarks.baselines.base import Catalogue, Query
from benchmarks.baselines.faiss_indexes import Hnsw
from benchmarks.measure import Call, Timing, cores, time_interleaved
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from models.network.codes import Codes, Floats
from models.network.latent_layer import LatentLayer

EF_SEARCH = (10, 16, 24, 32, 48, 64, 96, 128, 256)
POOLS = (10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000, 5000)
KINDS: tuple[VectorType, ...] = ("f32", "f16")
BITS, QUERIES, K, RECALLS = (128, 256), 200, 10, (0.95, 0.99)
# Shipped codes are fitted to a synthetic catalogue of this seed: other clusters, distributed alike.
OTHER_SEED = 1
HNSW = Hnsw.name
_BURST, _SECONDS = 10, 0.4
_BLOCK = 8192


@dataclass(frozen=True)
class Way:
    """A way to search: `search` returns the ids of the nearest, given an effort and a query's number."""

    efforts: tuple[int, ...]
    search: Callable[[int, int], Ids]


@dataclass(frozen=True)
class Point:
    """Recall of a way with one effort, and the time of a query."""

    effort: int
    recall: float
    timing: Timing


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--json", type=Path, help="file for the results; a plot is written next to it")
    options = parser.parse_args()
    results = measure(options.images, options.dim)
    results.show()
    if options.json is not None:
        results.write(options.json)


def measure(images: int, dim: int, bits: tuple[int, ...] = BITS, queries: int = QUERIES) -> Results:
    """Build every index over synthetic F7, then measure recall, and the times interleaved."""
    results = Results("recall against time", {"pictures": images, "floats": dim, "k": K, "queries": queries})
    made = SyntheticCatalogue(images, dim, bits[0])
    features, asked = np.concatenate([block for _, block in made.blocks()]), made.queries(queries)[1]
    faiss.omp_set_num_threads(cores())
    truth = faiss.knn(asked, features, K)[1]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        ways = {HNSW: hnsw(results, features, asked, folder, stack)}
        ways.update(two_steps(results, features, asked, bits, folder, stack))
        curves = curves_of(ways, truth)
    for name, points in curves.items():
        for point in points:
            results.value(f"{name}, {point.effort:,}: recall@{K}", point.recall, "recall")
            results.time(f"{name}, {point.effort:,}", point.timing)
    for recall in RECALLS:
        compare(results, curves, recall)
    return results


def hnsw(results: Results, features: Floats, asked: Floats, folder: Path, stack: ExitStack) -> Way:
    """Build FAISS's graph; the effort is efSearch."""
    graph, started = Hnsw(), time.perf_counter()
    graph.build(Catalogue(np.zeros((len(features), 0), np.uint8), features, folder))
    stack.enter_context(closing(graph))
    results.value(f"{HNSW}: build", time.perf_counter() - started, "s")
    results.value(f"{HNSW}: memory a picture", graph.memory() / len(features), "bytes")
    nothing = np.zeros(0, np.uint8)
    return Way(EF_SEARCH, lambda effort, number: graph.search(Query(nothing, asked[number]), K, effort))


def two_steps(
    results: Results, features: Floats, asked: Floats, bits: tuple[int, ...], folder: Path, stack: ExitStack
) -> Iterator[tuple[str, Way]]:
    """Write F7 in each type, and make shipped and adapted codes of each size; the effort is the pool."""
    images, dim = features.shape
    stored = {kind: store(features, folder, kind, stack) for kind in KINDS}
    for kind, (vectors, _) in stored.items():
        results.value(f"F7 as {kind}: disk a picture", vectors.bytes_on_disk / images, "bytes")
    vectors, entries = stored["f32"]
    for size in bits:
        shipped = SyntheticCatalogue(images, dim, size, seed=OTHER_SEED)
        index = index_of(in_blocks(shipped.codes, features), entries, vectors)
        results.value(f"{size} bits: memory a picture", index.code_bytes / images, "bytes")
        yield f"{size} bits, shipped", Way(POOLS, partial(search_by_code, index, shipped.codes(asked), asked))
        started = time.perf_counter()
        latent = fit(CatalogueContent(entries, np.full(images, NO_LABEL), ()), vectors, size)
        results.value(f"{size} bits, adapted: fit", time.perf_counter() - started, "s")
        for kind, (file, rows) in stored.items():
            started = time.perf_counter()
            index = index_of(in_blocks(latent.codes, file.as_stored(features)), rows, file)
            name = f"{size} bits, adapted, {kind}"
            results.value(f"{name}: codes and index", time.perf_counter() - started, "s")
            yield name, Way(POOLS, partial(search_adapted, index, latent, asked, True))
            if kind == "f32":
                yield f"{name}, Hamming order", Way(POOLS, partial(search_adapted, index, latent, asked, False))


def store(features: Floats, folder: Path, kind: VectorType, stack: ExitStack) -> tuple[VectorFile, IndexEntries]:
    """Write F7 `(n, d)` to a vector file; return it, and entries without codes."""
    vectors, ids = VectorFile(folder / f"vectors.{kind}", features.shape[1], kind), np.arange(len(features))
    stack.callback(vectors.close)
    return vectors, IndexEntries(ids, np.zeros((len(ids), 0), np.uint8), ids, vectors.write(ids, features))


def in_blocks(codes_of: Callable[[Any], Codes], features: NDArray[np.floating]) -> Codes:
    """Return the codes of F7 `(n, d)`."""
    return np.concatenate([codes_of(features[at : at + _BLOCK]) for at in range(0, len(features), _BLOCK)])


def index_of(codes: Codes, entries: IndexEntries, vectors: VectorFile) -> LocalIndex:
    """Return the service's index of codes `(n, bits / 8)` over a vector file."""
    index = LocalIndex(8 * codes.shape[1], vectors)
    index.add(IndexEntries(entries.ids, codes, entries.slots, entries.checksums))
    index.wait_for_lists()
    return index


def search_by_code(index: LocalIndex, codes: Codes, asked: Floats, pool: int, number: int) -> Ids:
    """Search in Hamming order."""
    candidates = select_pool(index, codes[number], pool)
    return np.array([match.id for match in index.rank(asked[number], candidates, K)])


def search_adapted(
    index: LocalIndex, latent: LatentLayer, asked: Floats, asymmetric: bool, pool: int, number: int
) -> Ids:
    """Compute the code from F7, as the service does, and search in asymmetric or Hamming order."""
    feature = index.as_stored(asked[number : number + 1])
    projections = latent.projections(feature)[0]
    code = np.packbits(projections > 0)
    candidates = select_pool(index, code, pool, projections=projections if asymmetric else None)
    return np.array([match.id for match in index.rank(feature[0], candidates, K)])


def curves_of(ways: Mapping[str, Way], truth: Ids) -> dict[str, list[Point]]:
    """Measure every way with all of its efforts; `truth` are the ids of the exact nearest `(m, K)`."""
    calls, recalls = dict[tuple[str, int], Call](), dict[tuple[str, int], float]()
    for name, way in ways.items():
        for effort in way.efforts:
            search = partial(way.search, effort)
            shares = [np.isin(nearest, search(number)).mean() for number, nearest in enumerate(truth)]
            recalls[name, effort] = float(np.mean(shares))
            calls[name, effort] = partial(answer, search, len(truth))
    named = {f"{name} {effort}": call for (name, effort), call in calls.items()}
    timings = time_interleaved(named, seconds=_SECONDS, burst=_BURST)
    return {
        name: [Point(effort, recalls[name, effort], timings[f"{name} {effort}"]) for effort in way.efforts]
        for name, way in ways.items()
    }


def answer(search: Callable[[int], Ids], queries: int, turn: int) -> Ids:
    """Answer the query of a turn, beginning again after the last one."""
    return search(turn % queries)


def compare(results: Results, curves: Mapping[str, list[Point]], recall: float) -> None:
    """Add the time of each way at a recall, and its ratio over HNSW's."""
    reference = time_at(curves[HNSW], recall)
    for name, points in curves.items():
        label, taken = f"{name}: time at recall {recall}", time_at(points, recall)
        if taken is None:
            results.skip(label, "not reached")
            continue
        results.value(label, 1000 * taken, "ms")
        if name != HNSW and reference is not None:
            results.ratio(f"{label}, over HNSW's", taken, reference)


def time_at(points: list[Point], recall: float) -> float | None:
    """Interpolate the seconds per query at a recall, in the logarithm of time; None if no effort reaches it.

    If even the smallest effort exceeds the recall, its time is returned.
    """
    ordered = sorted(points, key=lambda point: point.effort)
    reached = np.maximum.accumulate([point.recall for point in ordered])
    if reached[-1] < recall:
        return None
    last = int(np.searchsorted(reached, recall))
    near = slice(max(last - 1, 0), last + 1)
    times = [point.timing.median for point in ordered]
    return float(np.exp(np.interp(recall, reached[near], np.log(times[near]))))


if __name__ == "__main__":
    main()
