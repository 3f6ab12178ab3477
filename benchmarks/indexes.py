"""Benchmark of the local index and Milvus on the same synthetic catalogue with its rows in PostgreSQL.

It times a search's calls to the catalogue: the check for changes, the pool and the fine ranking. With Milvus that is
one query to PostgreSQL, then two to Milvus with one to PostgreSQL between them. Milvus is the server of
LOOKALIKE_MILVUS_URI, or milvus-lite, started as a server; both indexes may use all cores, and their results are
compared. The rows name the Milvus that was used.
"""

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from app.catalogue import index_versions
from app.catalogue.database.migrations import upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.embedded.postgres import embedded_postgres
from app.catalogue.index_sync import IndexSync
from app.catalogue.index_versions import IndexBackend
from app.model_switch.index_factory import IndexLocations, open_index
from app.search.index import Index
from app.search.local.index import LocalIndex
from app.search.types import Encodings, Match, Subset
from benchmarks.measure import Call, memory_of, time_interleaved
from benchmarks.options import Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import TAUGHT, SyntheticCatalogue
from benchmarks.synthetic.populated import PopulatedCatalogue
from models.checkpoint.info import CheckpointInfo
from models.network.codes import Codes, Floats
from models.network.preprocess import Preprocess

PICTURES, DIM, BITS, QUERIES, POOL, K = 100_000, 1280, 128, 64, 1000, 10
AT_ONCE, SECONDS, ADDED = 16, 10.0, 64
# Shares of the catalogue that match a filter.
PASSING = (0.01, 0.2)
_ROW_BYTES = 700
_SAME = 1e-4


def run(options: Options, say: Say) -> Results:
    """Fill both indexes with the same catalogue, and time searches interleaved."""
    images, dim = options.images or PICTURES, (options.floats or (DIM,))[0]
    bits = (options.bits or (BITS,))[0]
    results = Results("indexes", {"pictures": images, "floats": dim, "bits": bits, "pool": POOL, "k": K})
    if lack := space_shortage(options.folder, 3 * images * (4 * dim + _ROW_BYTES)):
        results.skip("indexes", lack)
        return results
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=options.folder)))
        folder.chmod(0o755)
        try:
            uri, server = stack.enter_context(milvus(folder))
        except ImportError as missing:
            results.skip("milvus", f"{missing.name} is not installed: pip install -e '.[bench]'")
            return results
        places, made = IndexLocations(folder, uri), SyntheticCatalogue(images, dim, bits, TAUGHT)
        url = stack.enter_context(embedded_postgres(folder))
        indexes: dict[IndexBackend, SyncedIndex] = {}
        for kind in ("local", "milvus"):
            say(f"filling the index {kind} with {images:,} made pictures")
            database = stack.enter_context(closing(Database(database_for(url, kind))))
            indexes[kind] = stack.enter_context(closing(populate(results, kind, database, places, made)))
        say("searching")
        compare(results, indexes, made)
        results.value("local: memory of each process", indexes["local"].index.code_bytes / 1e6, "MB")
        if server is not None:
            results.value("milvus-lite: memory of its process", memory_of(server.pid) / 1e6, "MB")
    return results


class SyncedIndex:
    """An index with its synchronisation, as in a replica."""

    def __init__(self, index_sync: IndexSync, index: Index) -> None:
        self._index_sync, self.index = index_sync, index

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def search(self, code: Codes, feature: Floats, among: Subset | None = None) -> list[Match]:
        """Search with both steps."""
        index = self._index_sync.synced_index()
        return index.rank(feature, index.candidates(code, POOL, None, among), K)

    def coarse(self, code: Codes, _feature: Floats) -> object:
        """Run the coarse search."""
        return self.index.candidates(code, POOL, None, None)

    def exhaustive(self, code: Codes, feature: Floats) -> object:
        """Rank all images by F7."""
        return self._index_sync.synced_index().rank_all(feature, code, K, None)


def populate(
    results: Results, kind: IndexBackend, database: Database, places: IndexLocations, made: SyntheticCatalogue
) -> SyncedIndex:
    """Fill an index, reopen it as at a start, and record how long both take."""
    upgrade(database)
    with database.transaction() as session:
        index_version = index_versions.activate_for(
            session, _network(made.dim, made.bits), Path("made.json"), index=kind
        )
    with closing(open_index(database, index_version, places)) as index:
        started = time.perf_counter()
        PopulatedCatalogue(database, index_version.id, index, made).up_to(made.images)
        results.value(f"{kind}: filling", made.images / (time.perf_counter() - started), "a second")
    started = time.perf_counter()
    index = open_index(database, index_version, places)
    index_sync = IndexSync(database, index, index_version.id, made.bits)
    index_sync.synced_index()
    results.value(f"{kind}: start", 1000 * (time.perf_counter() - started), "ms")
    if isinstance(index, LocalIndex):
        index.wait_for_lists()
    return SyncedIndex(index_sync, index)


def compare(results: Results, indexes: dict[IndexBackend, SyncedIndex], made: SyntheticCatalogue) -> None:
    """Compare results, then time both indexes interleaved."""
    codes, features = made.queries(QUERIES)
    for code, feature in zip(codes[:8], features[:8], strict=True):
        one, two = (index.search(code, feature) for index in indexes.values())
        far = [[match.distance for match in matches] for matches in (one, two)]
        np.testing.assert_allclose(far[0], far[1], rtol=_SAME)
    rng = np.random.default_rng(0)
    some = {share: Subset(np.flatnonzero(rng.random(made.images) < share) + 1) for share in PASSING}
    ways: dict[str, Call] = {}
    for kind, index in indexes.items():
        ways[f"{kind}: search"] = _by_turn(index.search, codes, features)
        for share, among in some.items():
            ways[f"{kind}: search, {share:.0%} pass"] = _by_turn(partial(index.search, among=among), codes, features)
        ways[f"{kind}: coarse"] = _by_turn(index.coarse, codes, features)
        ways[f"{kind}: exhaustive"] = _by_turn(index.exhaustive, codes, features)
    timings = time_interleaved(ways)
    for name, timing in timings.items():
        results.time(name, timing)
    results.ratio("milvus_over_local", timings["milvus: search"].median, timings["local: search"].median)
    for kind, index in indexes.items():
        search = _by_turn(index.search, codes, features)
        results.value(f"{kind}: searches, {AT_ONCE} at once", rate(search), "a second")
        slots = 10 * made.images + np.arange(ADDED)
        started = time.perf_counter()
        index.index.store(slots, Encodings(codes[:ADDED], features[:ADDED]))
        results.value(f"{kind}: keeping {ADDED} pictures", 1000 * (time.perf_counter() - started), "ms")


def rate(search: Call) -> float:
    """Return searches per second with a constant number of concurrent clients."""
    end, began = time.perf_counter() + SECONDS, time.perf_counter()

    def client(number: int) -> int:
        done = 0
        while time.perf_counter() < end:
            search(number * 7 + done)
            done += 1
        return done

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return sum(threads.map(client, range(AT_ONCE))) / (time.perf_counter() - began)


@contextmanager
def milvus(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the address of a Milvus, and its process if it was started here.

    Raises:
        ImportError: milvus-lite is not installed.
    """
    if uri := os.environ.get("LOOKALIKE_MILVUS_URI"):
        yield uri, None
        return
    # milvus-lite reads its own version through it.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
    lite = import_module("milvus_lite.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = lite.Server(str(folder / "milvus.db"), address)
    if not server.start():
        raise RuntimeError("milvus-lite did not start")
    try:
        yield f"http://{address}", server._p
    finally:
        server.stop()


def database_for(url: str, name: str) -> str:
    """Create an empty database on the same server; return its URL."""
    with closing(Database(url)) as database, database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"CREATE DATABASE {name}")
        made = database.engine.url.set(database=name)
    return made.render_as_string(hide_password=False)


def _by_turn(search: Callable[[Codes, Floats], object], codes: Codes, features: Floats) -> Call:
    return lambda turn: search(codes[turn % QUERIES], features[turn % QUERIES])


def _network(dim: int, bits: int) -> CheckpointInfo:
    reads = Preprocess(32, "stretch", (0, 0, 0), (1, 1, 1))
    return CheckpointInfo("made", "none", bits, dim, "raw", (), reads, fingerprint="made" * 4)
