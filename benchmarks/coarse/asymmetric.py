"""Recall of the pool and time of the coarse step, in Hamming and in asymmetric order.

    python -m benchmarks.coarse.asymmetric [--images 100000] [--dim 1280] [--bits 128] [--features FILE.npy]

Codes come from a latent layer over F7 whose hyperplanes are fitted with ITQ. F7 is synthetic, or read from a file
`(n, d)`; its last rows are then the queries, and not in the catalogue. Recall is the share of the exact ten nearest
that is in the pool. The coarse step is timed without the projections of the query, which have a row of their own.
"""

import argparse
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np

from app.catalogue.vectors.file import VectorFile
from app.search.local.index import LocalIndex
from app.search.pool import Projections, select_pool
from app.search.types import Ids, IndexEntries
from benchmarks.measure import Call, cores, time_interleaved
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SAMPLE, SyntheticCatalogue
from models.network.codes import Codes, Floats
from models.network.latent_layer import fit_latent_layer
from models.training.itq import itq

POOLS, QUERIES, K = (100, 200, 1000), 500, 10
_BLOCK = 8192


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--bits", type=int, default=128)
    parser.add_argument("--features", type=Path, help="F7 of images, .npy")
    options = parser.parse_args()
    if options.features is None:
        features, queries = synthetic(SyntheticCatalogue(options.images, options.dim, options.bits))
    else:
        rows = np.load(options.features).astype(np.float32)
        features, queries = rows[:-QUERIES], rows[-QUERIES:]
    measure(features, queries, options.bits).show()


def synthetic(made: SyntheticCatalogue) -> tuple[Floats, Floats]:
    """Return F7 of the images and of the queries."""
    return np.concatenate([block for _, block in made.blocks()]), made.queries(QUERIES)[1]


def measure(features: Floats, queries: Floats, bits: int) -> Results:
    """Fill an index with the codes of F7 `(n, d)`, and measure pools and times of queries `(m, d)`."""
    results = Results("asymmetric", {"images": len(features), "floats": features.shape[1], "bits": bits, "k": K})
    step = max(len(features) // SAMPLE, 1)
    latent = fit_latent_layer(*itq(features[::step], bits), features)
    codes = np.concatenate([latent.codes(features[at : at + _BLOCK]) for at in range(0, len(features), _BLOCK)])
    projections = latent.projections(queries)
    faiss.omp_set_num_threads(cores())
    exact = faiss.knn(queries, features, K)[1]
    with TemporaryDirectory() as folder, closing(VectorFile(Path(folder) / "none.f32", 1)) as vectors:
        index, ids = LocalIndex(bits, vectors), np.arange(len(codes))
        index.add(IndexEntries(ids, codes, ids, np.zeros(len(ids), np.uint32)))
        index.wait_for_lists()
        ways: dict[str, Call] = {"projections": lambda turn: latent.projections(queries[turn % len(queries)][None])}
        for pool in POOLS:
            for name, order in ((f"pool {pool:,}", None), (f"pool {pool:,}, asymmetric", projections)):
                search = partial(pool_ids, index, np.packbits(projections > 0, axis=1), order, pool)
                ways[f"coarse, {name}"] = search
                shares = [np.isin(nearest, search(at)).mean() for at, nearest in enumerate(exact)]
                results.value(f"recall@{K}, {name}", float(np.mean(shares)), "recall")
        for name, timing in time_interleaved(ways).items():
            results.time(name, timing)
    return results


def pool_ids(index: LocalIndex, codes: Codes, projections: Projections | None, pool: int, turn: int) -> Ids:
    """Return the pool of one of the queries `(m, bits / 8)`; with projections `(m, bits)`, in asymmetric order."""
    at = turn % len(codes)
    return select_pool(index, codes[at], pool, projections=None if projections is None else projections[at]).ids


if __name__ == "__main__":
    main()
