"""Benchmark of search and start by catalogue size, from ten thousand images to ten million.

A real PostgreSQL holds the rows, a real vector file F7 (128 floats, so that ten million take 5 GB). At each size an
index is opened and searched as in the service.
"""

import time
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from app.catalogue import index_versions
from app.catalogue.code_files.store import FOLDER, CodeFileStore
from app.catalogue.database.migrations import upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.embedded.postgres import embedded_postgres
from app.catalogue.index_sync import IndexSync
from app.catalogue.vectors.file import VectorFile
from app.search.local.index import LocalIndex
from benchmarks.measure import Call, time_interleaved
from benchmarks.options import Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from benchmarks.synthetic.populated import PopulatedCatalogue
from models.checkpoint.info import CheckpointInfo
from models.network.codes import Codes, Floats
from models.network.preprocess import Preprocess

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
DIM, BITS, QUERIES, POOL, K = 128, 128, 64, 1000, 10
# Approximate bytes of a row of `images` and one of `encodings`, with their indexes.
_ROW_BYTES = 700


def run(options: Options, say: Say) -> Results:
    """Fill a catalogue to each size and measure; sizes without enough disk space are skipped with a reason."""
    largest = options.images or SIZES[-1]
    dim, bits = (options.floats or (DIM,))[0], (options.bits or (BITS,))[0]
    results = Results("growth", {"pictures": largest, "floats": dim, "bits": bits, "pool": POOL})
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=options.folder)))
        database = stack.enter_context(closing(Database(stack.enter_context(embedded_postgres(folder)))))
        upgrade(database)
        with database.transaction() as session:
            index_version_id = index_versions.activate_for(session, _network(dim, bits), Path("made.json")).id
        vectors = stack.enter_context(closing(VectorFile(folder / "vectors.f32", dim)))
        made = SyntheticCatalogue(largest, dim, bits)
        filling = PopulatedCatalogue(database, index_version_id, LocalIndex(bits, vectors), made)
        codes, features = made.queries(QUERIES)
        for size in sorted({min(size, largest) for size in SIZES}):
            if lack := space_shortage(folder, (size - filling.count) * (4 * dim + _ROW_BYTES)):
                results.skip(f"{size:,} pictures", lack)
                continue
            say(f"filling a catalogue up to {size:,} pictures")
            filling.up_to(size)
            say("starting and searching")
            measure(results, filling, vectors, codes, features)
    return results


def measure(
    results: Results, filling: PopulatedCatalogue, vectors: VectorFile, query_codes: Codes, queries: Floats
) -> None:
    """Open an index as at the service's start, and search it."""
    bits, size = filling.made.bits, f"{filling.count:,} pictures"
    index = LocalIndex(bits, vectors)
    index_sync = IndexSync(filling.database, index, filling.index_version_id, bits)
    started = time.perf_counter()
    index_sync.synced_index()
    results.value(f"start, {size}", 1000 * (time.perf_counter() - started), "ms")
    flat = time_interleaved({"coarse": coarse(index, query_codes)})["coarse"]
    started = time.perf_counter()
    index.wait_for_lists()
    results.value(f"putting codes in order, {size}", 1000 * (time.perf_counter() - started), "ms")
    pools = [index.candidates(code, POOL, None, None) for code in query_codes]

    def fine(turn: int) -> object:
        at = turn % QUERIES
        return index.rank(queries[at], pools[at], K)

    timings = time_interleaved({"coarse": coarse(index, query_codes), "fine": fine})
    folder = vectors.path.parent / FOLDER
    written = CodeFileStore(folder, filling.index_version_id, index.table)
    started = time.perf_counter()
    written.save(filling.database, index_sync.at_one_seq)
    results.value(f"writing the code file, {size}", 1000 * (time.perf_counter() - started), "ms")
    again = LocalIndex(bits, vectors)
    store = CodeFileStore(folder, filling.index_version_id, again.table)
    started = time.perf_counter()
    IndexSync(filling.database, again, filling.index_version_id, bits, load=store.load).synced_index()
    results.value(f"start from the code file, {size}", 1000 * (time.perf_counter() - started), "ms")
    results.time(f"coarse while being put in order, {size}", flat)
    for name, timing in timings.items():
        results.time(f"{name}, {size}", timing)
    results.value(f"memory a picture, {size}", index.code_bytes / filling.count, "bytes")


def coarse(index: LocalIndex, query_codes: Codes) -> Call:
    """Return a call that runs the coarse search."""
    return lambda turn: index.candidates(query_codes[turn % QUERIES], POOL, None, None)


def _network(dim: int, bits: int) -> CheckpointInfo:
    reads = Preprocess(32, "stretch", (0, 0, 0), (1, 1, 1))
    return CheckpointInfo("made", "none", bits, dim, "raw", (), reads, fingerprint="made" * 4)
