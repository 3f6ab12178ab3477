"""Benchmark of fitting codes to a catalogue: the time of each step, the peak memory, and what the codes find.

F7 of synthetic images lies in the vector file and codes of ITQ in PostgreSQL, as the service would have written them.
No image exists, so none can be read.
"""

import os
import time
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from app.adaptation.adapt import BITS as ADAPTED_BITS
from app.adaptation.adapt import adapt
from app.catalogue import index_versions
from app.catalogue.database.migrations import upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.embedded.postgres import embedded_postgres
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.model_switch.index_factory import IndexLocations, open_index
from benchmarks.options import PAPERS_SIZE, Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from benchmarks.synthetic.populated import PopulatedCatalogue
from models.checkpoint.info import CheckpointInfo
from models.network.preprocess import Preprocess

DIM, BITS = 1280, 128
_ROW_BYTES = 900


def run(options: Options, say: Say) -> Results:
    """Fill a catalogue, and adapt it."""
    images, dim = options.images or PAPERS_SIZE, (options.floats or (DIM,))[0]
    bits = (options.bits or (BITS,))[0]
    results = Results("adaptation", {"pictures": images, "floats": dim, "bits": bits, "adapted": ADAPTED_BITS})
    if lack := space_shortage(options.folder, images * (4 * dim + _ROW_BYTES)):
        results.skip("adaptation", lack)
        return results
    network = CheckpointInfo("made", "none", bits, dim, "raw", (), Preprocess(1, "stretch", (0, 0, 0), (1, 1, 1)))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=options.folder))).resolve()
        folder.chmod(0o755)
        url = stack.enter_context(embedded_postgres(folder))
        database = stack.enter_context(closing(Database(url)))
        upgrade(database)
        places, made = IndexLocations(folder, None), SyntheticCatalogue(images, dim, bits)
        with database.transaction() as session:
            version = index_versions.activate_for(session, network, Path("made.json"))
        say(f"filling the catalogue with {images:,} made pictures")
        with closing(open_index(database, version, places)) as index:
            PopulatedCatalogue(database, version.id, index, made).up_to(images)
        os.sync()
        say("adapting")
        steps = dict[str, float]()

        memory = [_own_memory()]

        def report(step: str, _done: int, _total: int) -> None:
            steps.setdefault(step, time.perf_counter())
            memory.append(_own_memory())

        started = time.perf_counter()
        done = adapt(database, places, FsyncGuard(), report, describe=lambda _: network)
        ended = time.perf_counter()
    results.value("reading and verifying codes and F7", steps["fitting codes"] - started, "s")
    if "computing codes" in steps:
        results.value("fitting, and judging on a sample", steps["computing codes"] - steps["fitting codes"], "s")
        results.value("computing codes, rows, switch", ended - steps["computing codes"], "s")
    results.value("adapting", ended - started, "s")
    results.value("growth of memory without mapped files, while filling", (max(memory) - memory[0]) / 1e6, "MB")
    for name, codes in (("before", done.before), ("after", done.after)):
        results.value(f"{name}: codes alone, {codes.bits} bits", codes.codes, "recall")
        results.value(f"{name}: pool of {codes.pool}", codes.recall, "recall")
    return results


def _own_memory() -> int:
    """Return this process's memory in bytes, without the pages of mapped files."""
    status = Path("/proc/self/status").read_text().split("RssAnon:")[1]
    return 1024 * int(status.split()[0])
