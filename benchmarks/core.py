"""Benchmark of the search core at the paper's size: codes, both steps, and exhaustive exact L2, on synthetic data.

The paper (section 4.4) reports codes 971.3 times as fast as exhaustive L2 over 4096 floats of 1,124,087 images.
Each step is compared with its limit in the same run: the coarse step with one pass over the bytes of the codes, the
fine step with FAISS's distance kernel alone on the same rows. Single queries go through the service's index, which
uses all cores for a long scan; exhaustive search is FAISS's, in one thread and on all cores. For concurrent queries
each core answers its share, and exhaustive search multiplies matrices. Results of codes are verified with NumPy.
Codes are measured as trained with labels (the paper's setting) and without.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np

from app.catalogue.vectors.file import VectorFile
from app.search.local.fine import l2_distances
from app.search.local.index import LocalIndex
from app.search.types import IndexEntries, Subset
from benchmarks.measure import Call, cores, read_all, time_interleaved
from benchmarks.options import PAPERS_SIZE, Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import TAUGHT, UNTAUGHT, SyntheticCatalogue
from models.network.codes import Codes, Floats

DIMS, BITS = (4096, 1280), (128, 48)
POOLS, DEFAULT_POOL = (100, 1000, 10_000), 1000
QUERIES, K = 64, 10
AT_ONCE = 16
# Shares of the catalogue that match a filter.
PASSING = (0.01, 0.1, 0.5)
# Setting whose rows have no suffix: the paper's, with the default pool.
HEADLINE = (4096, 128, TAUGHT)


def run(options: Options, say: Say) -> Results:
    """Measure every F7 and code size; sizes without enough disk space are skipped with a reason."""
    images = options.images or PAPERS_SIZE
    results = Results("core", {"pictures": images, "k": K})
    for dim in options.floats or DIMS:
        if lack := space_shortage(options.folder, images * dim * 4):
            results.skip(f"{dim} floats", lack)
            continue
        for bits in options.bits or BITS:
            measure(results, SyntheticCatalogue(images, dim, bits, TAUGHT), options.folder, say)
        measure(results, SyntheticCatalogue(images, dim, (options.bits or BITS)[0], UNTAUGHT), options.folder, say)
    return results


def measure(results: Results, made: SyntheticCatalogue, folder: Path, say: Say) -> None:
    """Fill an index, time all searches interleaved, add the rows, and delete the file."""
    path = folder / f"core-{made.dim}.f32"
    try:
        with closing(VectorFile(path, made.dim)) as vectors, ThreadPoolExecutor(cores()) as team:
            say(f"making {made.images:,} pictures of {made.dim} floats and {made.bits} bits{_labels(made)}")
            index, codes = fill(made, vectors)
            query_codes, queries = made.queries(QUERIES)
            check(index, codes, query_codes)
            ways = calls(index, vectors, codes, query_codes, queries)
            say("searching")
            timings = time_interleaved(ways)
            say(f"searching, {AT_ONCE} at once")
            timings |= time_interleaved(
                batches(ways, vectors, codes, queries, team), min_rounds=3, seconds=1.0, warm_up=1
            )
    finally:
        path.unlink(missing_ok=True)
    headline = (made.dim, made.bits, made.spread) == HEADLINE
    setting = "" if headline else f" ({made.dim} floats, {made.bits} bits{_labels(made)})"
    for name, timing in timings.items():
        results.time(f"{name}{setting}", timing)
    medians = {name: timing.median for name, timing in timings.items()}
    results.ratio(f"bcs_over_es{setting}", medians["es"], medians["bcs"])
    for pool in POOLS:
        name = "hds_over_es" if pool == DEFAULT_POOL else f"hds_over_es, pool {pool:,}"
        results.ratio(f"{name}{setting}", medians["es"], medians[f"hds, pool {pool:,}"])
    for share in PASSING:
        passing = medians[f"hds, pool 1,000, {share:.0%} pass"]
        results.ratio(f"filtered_over_plain, {share:.0%} pass{setting}", passing, medians["hds, pool 1,000"])
    for way in ("bcs", "hds, pool 1,000"):
        over, under = medians[f"es, {AT_ONCE} at once"], medians[f"{way}, {AT_ONCE} at once"]
        results.ratio(f"es over {way}, {AT_ONCE} at once{setting}", over, under)
    results.ratio(f"coarse_over_limit{setting}", medians["coarse, pool 1,000"], medians["limit: codes read once"])
    results.ratio(f"fine_over_kernel{setting}", medians["fine, pool 1,000"], medians["limit: kernel, 1,000 rows"])


def _labels(made: SyntheticCatalogue) -> str:
    return ", no labels" if made.spread == UNTAUGHT else ""


def fill(made: SyntheticCatalogue, vectors: VectorFile) -> tuple[LocalIndex, Codes]:
    """Fill an index with synthetic data; return it, and its codes for verification."""
    index, first, codes = LocalIndex(made.bits, vectors), 0, []
    for block, features in made.blocks():
        slots = np.arange(first, first + len(block))
        index.add(IndexEntries(slots + 1, block, slots, vectors.write(slots, features)))
        codes.append(block)
        first += len(block)
    index.wait_for_lists()
    return index, np.concatenate(codes)


def check(index: LocalIndex, codes: Codes, queries: Codes) -> None:
    """Verify the coarse step against NumPy: ids and distances, ties by id."""
    for query in queries[:8]:
        flat = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int32)
        expected = np.lexsort((np.arange(len(codes)), flat))[:DEFAULT_POOL]
        found = index.candidates(query, DEFAULT_POOL, None, None)
        np.testing.assert_array_equal(found.ids, expected + 1)
        np.testing.assert_array_equal(found.hamming, flat[expected])


def calls(index: LocalIndex, vectors: VectorFile, codes: Codes, query_codes: Codes, queries: Floats) -> dict[str, Call]:
    """Build the timed calls by name: searches, the two steps alone, and their limits."""
    everything = np.asarray(vectors.mapped_rows(np.array([len(codes) - 1]))[: len(codes)], np.float32)
    pools = [index.candidates(code, DEFAULT_POOL, None, None) for code in query_codes]
    width = -(-codes.shape[1] // 8) * 8
    words = np.zeros((len(codes), width), np.uint8).reshape(-1).view(np.uint64)

    def bcs(turn: int) -> object:
        return index.candidates(query_codes[turn % QUERIES], K, None, None)

    def hds(pool: int) -> Call:
        def search(turn: int) -> object:
            at = turn % QUERIES
            return index.rank(queries[at], index.candidates(query_codes[at], pool, None, None), K)

        return search

    rng = np.random.default_rng(0)
    subsets = {share: Subset(np.flatnonzero(rng.random(len(codes)) < share) + 1) for share in PASSING}

    def filtered(some: Subset) -> Call:
        def search(turn: int) -> object:
            at = turn % QUERIES
            pool = index.candidates(query_codes[at], DEFAULT_POOL, None, some)
            return index.rank(queries[at], pool, K)

        return search

    def fine(turn: int) -> object:
        at = turn % QUERIES
        return index.rank(queries[at], pools[at], K)

    return {
        "es": exhaustive(queries, everything, 1),
        "es, all cores": exhaustive(queries, everything, cores()),
        "bcs": bcs,
        **{f"hds, pool {pool:,}": hds(pool) for pool in POOLS},
        **{f"hds, pool 1,000, {share:.0%} pass": filtered(some) for share, some in subsets.items()},
        "coarse, pool 1,000": lambda turn: index.candidates(query_codes[turn % QUERIES], DEFAULT_POOL, None, None),
        "limit: codes read once": read_all(words),
        "fine, pool 1,000": fine,
        "limit: kernel, 1,000 rows": lambda turn: l2_distances(
            queries[turn % QUERIES], everything, pools[turn % QUERIES].slots
        ),
    }


def batches(
    ways: dict[str, Call], vectors: VectorFile, codes: Codes, queries: Floats, team: ThreadPoolExecutor
) -> dict[str, Call]:
    """Build the timed calls for several concurrent queries."""
    everything = np.asarray(vectors.mapped_rows(np.array([len(codes) - 1]))[: len(codes)], np.float32)

    def in_parallel(way: Call) -> Call:
        return lambda turn: list(team.map(way, range(turn * AT_ONCE, (turn + 1) * AT_ONCE)))

    return {
        f"es, {AT_ONCE} at once": exhaustive(queries, everything, cores(), AT_ONCE),
        **{f"{way}, {AT_ONCE} at once": in_parallel(ways[way]) for way in ("bcs", "hds, pool 1,000")},
    }


def exhaustive(queries: Floats, everything: Floats, threads: int, asked: int = 1) -> Call:
    """Return a call that runs exhaustive search for a number of queries and threads."""

    def search(turn: int) -> object:
        at = turn * asked % QUERIES
        faiss.omp_set_num_threads(threads)
        found = faiss.knn(queries[at : at + asked], everything, K)
        # The index sets this once per thread, and relies on it.
        faiss.omp_set_num_threads(1)
        return found

    return search
