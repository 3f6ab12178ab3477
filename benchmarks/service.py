"""Benchmark of the running server over HTTP with a catalogue of the paper's size, against the bare work.

The catalogue is synthetic (rows, codes and F7, no image files). Queries and added images are the demo's, as JPEGs. The
server is compared with decoding and encoding them by the same network in this process. Server and clients share the
machine's cores.
"""

import http.client
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from urllib.parse import quote

import numpy as np

from app.model_switch.networks import start_decode_workers
from app.search.decode.sandbox import Sandbox
from app.search.encode.batching import MAX_BATCH
from benchmarks.measure import Timing, time_interleaved
from benchmarks.options import PAPERS_SIZE, Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.server.running import (
    MODEL,
    PIXELS,
    QUERIES,
    Images,
    InProcessBaseline,
    Server,
    bytes_needed,
    filled_service,
    jpegs,
)
from benchmarks.synthetic.populated import LABELS

CLIENTS, SECONDS, ROUNDS = (1, 4, 16), 10.0, 3
# Calls in a row before the next way: one after another, the threads and caches of this process would slow the server's.
BURST = 8
ADDED_AT_ONCE, ADDED = 50, 300
BOUNDARY = "lookalike-benchmark"
_CREATED, _OK = 201, 200


def run(options: Options, say: Say) -> Results:
    """Fill a catalogue, start the server, and measure."""
    images = options.images or PAPERS_SIZE
    results = Results("service", {"pictures": images, "model": MODEL, "query": f"JPEG, {PIXELS} pixels"})
    if lack := space_shortage(options.folder, bytes_needed(images)):
        results.skip("service", lack)
        return results
    with filled_service(options.folder, images, results, say) as service, ExitStack() as stack:
        server, bare = service.server, service.bare
        queries, added = jpegs(QUERIES), jpegs(QUERIES + ADDED)[QUERIES:]
        sandbox = stack.enter_context(closing(start_decode_workers(service.settings, service.info)))
        say("searching")
        search(results, server, bare, sandbox, queries)
        say("searching with many clients")
        throughput(results, server, bare, queries)
        say("adding")
        ingest(results, server, bare, added)
        results.value("memory of the process, besides files", server.memory() / 1e6, "MB")
        results.value("memory of the codes, a picture", server.codes() / images, "bytes")
    return results


def post(connection: http.client.HTTPConnection, path: str, field: str, images: Images, wanted: int) -> bytes:
    """Post images as a form; return the response body."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.jpg"\r\n\r\n'.encode() + data
        for data in images
    ]
    body = b"\r\n".join(parts) + f"\r\n--{BOUNDARY}--\r\n".encode()
    connection.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != wanted:
        raise RuntimeError(f"{path} returned {response.status}: {answer[:300]!r}")
    return answer


def search(results: Results, server: Server, bare: InProcessBaseline, sandbox: Sandbox, queries: Images) -> None:
    """Measure searches of one client, plain and filtered, against decoding and encoding the same images.

    The sandbox's cost for a search is the difference between decoding in it and decoding here.
    """
    with closing(server.connect()) as connection:

        def post_search(path: str) -> Callable[[int], object]:
            return lambda turn: post(connection, path, "image", [queries[turn % QUERIES]], _OK)

        firsts = []
        for turn in range(10):
            began = time.perf_counter()
            post_search("/search")(turn)
            firsts.append(1000 * (time.perf_counter() - began))
        results.value("first search", firsts[0], "ms")
        results.value("tenth search", firsts[-1], "ms")
        ways = {
            "POST /search": post_search("/search"),
            "bare decode and encode": lambda turn: bare.one(queries[turn % QUERIES]),
            "decode in the sandbox": lambda turn: sandbox(queries[turn % QUERIES]),
            "decode without it": lambda turn: bare.decode(queries[turn % QUERIES]),
        }
        ways |= {f"POST /search, {name}": post_search(f"/search?label={quote(name)}") for name in LABELS}
        timings = time_interleaved(ways, seconds=6.0, burst=BURST)
    for name, timing in timings.items():
        results.time(name, timing)
    plain = timings["POST /search"].median
    results.ratio("search_over_bare", plain, timings["bare decode and encode"].median)
    cost = timings["decode in the sandbox"].median - timings["decode without it"].median
    results.ratio("search_over_unprotected", plain, plain - cost)
    for name in LABELS:
        results.ratio(f"filtered_over_plain, {name}", timings[f"POST /search, {name}"].median, plain)


def throughput(results: Results, server: Server, bare: InProcessBaseline, queries: Images) -> None:
    """Measure searches per second of several clients, interleaved with bare work in batches on the same cores.

    The bare work is encoding alone, and decoding with encoding.
    """
    encoding = bare.encoding(queries)
    encoded: list[float] = []
    decoded: list[float] = []
    taken: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    for _ in range(ROUNDS):
        encoded.append(rate(encoding, len(queries), SECONDS / 2))
        decoded.append(rate(lambda: bare.many(queries), len(queries), SECONDS / 2))
        for clients in CLIENTS:
            taken[clients] += load_test(server, queries, clients, SECONDS)
    for clients, seconds in taken.items():
        name = f"POST /search, {clients} at once"
        p95, p99 = np.percentile(seconds, (95, 99)).tolist()
        results.time(name, Timing.of(seconds))
        results.value(f"{name}, p95", 1000 * p95, "ms")
        results.value(f"{name}, p99", 1000 * p99, "ms")
        results.value(f"searches, {clients} at once", len(seconds) / (ROUNDS * SECONDS), "a second")
    results.value(f"bare encoding in batches of {MAX_BATCH}", float(np.median(encoded)), "a second")
    results.value("bare decoding and encoding", float(np.median(decoded)), "a second")
    most = len(taken[CLIENTS[-1]]) / (ROUNDS * SECONDS)
    results.ratio("throughput_over_bare", most, float(np.median(encoded)))
    results.ratio("throughput_over_decode_and_encode", most, float(np.median(decoded)))


def load_test(server: Server, queries: Images, clients: int, seconds: float) -> list[float]:
    """Run clients that search one image after another, each on its own connection; return all latencies."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        with closing(server.connect()) as connection:
            turn = number * 7
            while (began := time.perf_counter()) < end:
                post(connection, "/search", "image", [queries[turn % QUERIES]], _OK)
                taken.append(time.perf_counter() - began)
                turn += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def rate(call: Callable[[], object], images: int, seconds: float) -> float:
    """Return images per second of a call that processes several at once."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        call()
        done += images
    return done / (time.perf_counter() - began)


def ingest(results: Results, server: Server, bare: InProcessBaseline, images: Images) -> None:
    """Measure adding new images, against decoding and encoding them."""
    requests = [images[first : first + ADDED_AT_ONCE] for first in range(0, len(images), ADDED_AT_ONCE)]
    with closing(server.connect()) as connection:
        timings = time_interleaved(
            {
                "POST /index, 50 pictures": lambda turn: post(connection, "/index", "images", requests[turn], _CREATED),
                "bare decode and encode, 50 pictures": lambda turn: bare.many(requests[turn]),
            },
            min_rounds=len(requests),
            seconds=0,
            warm_up=0,
        )
    for name, timing in timings.items():
        results.time(name, timing)
    added, plain = (ADDED_AT_ONCE / timing.median for timing in timings.values())
    results.ratio("ingest_over_bare", added, plain)
