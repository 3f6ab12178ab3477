"""Response times at fixed rates of searches, of a running service or of one that is started for it.

Without an address, a service with a synthetic catalogue is measured with one worker, with a worker per core, and with
its index in Milvus Lite, which allows one worker. Load generator and service share the machine's cores, and a response
is timed from the request to the first byte.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx

from app.errors import LookalikeError
from app.settings import Settings
from benchmarks.load.artillery import LoadResult, find_artillery, generate
from benchmarks.measure import cores
from benchmarks.options import Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.server.running import MODEL, PIXELS, QUERIES, bytes_needed, catalogue_folder, fill, jpegs, serving
from models.checkpoint.info import find_checkpoint, read_info

IMAGES, RATES, SECONDS = 100_000, (5, 10, 20, 40), 30
_OK, _WARM_UP_S = 200, 5
# A service keeps up with a rate if it answers this share of the requests with a result.
_KEEPS_UP = 0.99


def run(options: Options, say: Say) -> Results:
    """Measure one service by its address, or several that are started here."""
    find_artillery()
    rates, seconds = options.rates or RATES, options.seconds or SECONDS
    about = {"rates": rates, "seconds": seconds, "query": f"JPEG, {PIXELS} pixels", "cores": cores()}
    if options.url:
        results = Results("load", {"url": options.url, **about})
        require_ready(options.url)
        measure(results, "", options.url, rates, seconds, say)
        return results
    images = options.images or IMAGES
    results = Results("load", {"pictures": images, "model": MODEL, **about})
    if lack := space_shortage(options.folder, 2 * bytes_needed(images)):
        results.skip("load", lack)
        return results
    for name, settings in services(options.folder, images, results, say):
        with serving(settings, results) as server:
            measure(results, f"{name}, ", f"http://127.0.0.1:{server.port}", rates, seconds, say)
    return results


def services(folder: Path, images: int, results: Results, say: Say) -> Iterator[tuple[str, Settings]]:
    """Fill a catalogue in each index, and yield the settings of the services to measure."""
    info = read_info(find_checkpoint(MODEL))
    with catalogue_folder(folder) as data:
        say(f"filling a local index with {images:,} made pictures")
        local = Settings(data_dir=data, demo="off", model=MODEL, adapt="off")
        fill(local, info, images)
        yield "local, 1 worker", local
        if cores() > 1:
            yield f"local, {cores()} workers", local.model_copy(update={"workers": cores()})
    with catalogue_folder(folder) as data:
        say(f"filling Milvus Lite with {images:,} made pictures")
        uri = str(data / "milvus.db")
        milvus = local.model_copy(update={"data_dir": data, "index_backend": "milvus", "milvus_uri": uri})
        try:
            fill(milvus, info, images)
        except LookalikeError as missing:
            results.skip("Milvus Lite, 1 worker", str(missing))
            return
        yield "Milvus Lite, 1 worker", milvus


def measure(results: Results, service: str, url: str, rates: tuple[int, ...], seconds: int, say: Say) -> None:
    """Measure a service at each rate, the lowest first, and record what each core answered."""
    images, key, best = jpegs(QUERIES), Settings().api_key, 0.0
    generate(url, images, rates[0], _WARM_UP_S, key)
    for rate in sorted(rates):
        say(f"{service}{rate} searches a second")
        found = generate(url, images, rate, seconds, key)
        record(results, f"{service}{rate} a second", found)
        answered = found.responses.get(_OK, 0)
        if answered >= _KEEPS_UP * found.sent:
            best = max(best, answered / seconds)
    results.value(f"{service}highest rate that it kept up with, a core", best / cores(), "a second")


def record(results: Results, name: str, found: LoadResult) -> None:
    """Record the percentiles of a rate, and what was not answered with a result."""
    for title, value in (("p50", found.p50), ("p95", found.p95), ("p99", found.p99)):
        if value is not None:
            results.value(f"{name}, {title}", value, "ms")
    results.ratio(f"{name}, answered", found.responses.get(_OK, 0), max(found.sent, 1))
    others = {str(code): n for code, n in found.responses.items() if code != _OK} | dict(found.errors)
    for kind, count in sorted(others.items()):
        results.value(f"{name}, {kind}", count, "requests")


def require_ready(url: str) -> None:
    """Check that a service is ready for searches.

    Raises:
        LookalikeError: it does not answer, or is not ready.
    """
    try:
        httpx.get(f"{url.rstrip('/')}/readyz", timeout=10).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = f"{url} is no service that is ready ({error}). Start one with `lookalike serve`."
        raise LookalikeError(reason) from error
