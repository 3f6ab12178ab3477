"""Benchmark of the running server over HTTP with a catalogue of the paper's size, against the bare work.

The catalogue is synthetic (rows, codes and F7, no image files). Queries and added images are the demo's, as JPEGs. The
server is compared with decoding and encoding them by the same network in this process. Server and clients share the
machine's cores.
"""

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import numpy as np

from app.bootstrap import index_locations, open_database
from app.catalogue import index_versions
from app.demo.catalogue import demo_images
from app.model_switch.index_factory import open_index
from app.model_switch.networks import model_cache_dir, start_decode_workers
from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from app.search.decode.sandbox import Sandbox
from app.search.encode.batching import MAX_BATCH, BatchingEncoder, open_encoder
from app.settings import Settings
from benchmarks.measure import Timing, cores, memory_of, time_interleaved
from benchmarks.options import PAPERS_SIZE, Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from benchmarks.synthetic.populated import LABELS, PopulatedCatalogue
from models.checkpoint.info import CheckpointInfo, find_checkpoint, read_info
from models.network.preprocess import Preprocess

MODEL, QUERIES, PIXELS = "general", 64, 640
CLIENTS, SECONDS, ROUNDS = (1, 4, 16), 10.0, 3
ADDED_AT_ONCE, ADDED = 50, 300
BOUNDARY = "lookalike-benchmark"
_ROW_BYTES = 700
_START_TIMEOUT_S = 300
_CREATED, _OK = 201, 200

Images = list[bytes]


def run(options: Options, say: Say) -> Results:
    """Fill a catalogue, start the server, and measure."""
    images = options.images or PAPERS_SIZE
    results = Results("service", {"pictures": images, "model": MODEL, "query": f"JPEG, {PIXELS} pixels"})
    info = read_info(find_checkpoint(MODEL))
    if lack := space_shortage(options.folder, bytes_needed(images, info)):
        results.skip("service", lack)
        return results
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=options.folder)))
        # When run as root, PostgreSQL has an account of its own, which needs access to the folder.
        folder.chmod(0o755)
        settings = Settings(data_dir=folder, demo="off", model=MODEL)
        say(f"filling a catalogue with {images:,} made pictures")
        fill(settings, info, images)
        encoder, _ = open_encoder(find_checkpoint(MODEL), "cpu", "f32", model_cache_dir(settings))
        bare = InProcessBaseline(stack.enter_context(closing(encoder)), info.preprocess)
        queries, added = jpegs(QUERIES), jpegs(QUERIES + ADDED)[QUERIES:]
        server = stack.enter_context(serving(settings, results))
        sandbox = stack.enter_context(closing(start_decode_workers(settings, info)))
        say("searching")
        search(results, server, bare, sandbox, queries)
        say("searching with many clients")
        throughput(results, server, bare, queries)
        say("adding")
        ingest(results, server, bare, added)
        results.value("memory of the process, besides files", server.memory() / 1e6, "MB")
        results.value("memory of the codes, a picture", server.codes() / images, "bytes")
    return results


def bytes_needed(images: int, info: CheckpointInfo) -> int:
    """Return the disk space that a catalogue for the network takes, in bytes."""
    return images * (4 * info.feature_dim + _ROW_BYTES)


def fill(settings: Settings, info: CheckpointInfo, images: int) -> None:
    """Write a catalogue for the network."""
    with open_database(settings) as database:
        with database.transaction() as session:
            index_version = index_versions.activate_for(
                session, info, find_checkpoint(MODEL), index=settings.index_backend
            )
        with closing(open_index(database, index_version, index_locations(settings))) as index:
            made = SyntheticCatalogue(images, info.feature_dim, info.bits)
            PopulatedCatalogue(database, index_version.id, index, made).up_to(images)


def jpegs(count: int) -> Images:
    """Return distinct drawings of the demo as JPEGs."""
    drawn = [drawing.image.convert("RGB").resize((PIXELS, PIXELS)) for drawing in islice(demo_images(), QUERIES)]
    made = []
    for number, image in enumerate(islice(cycle(drawn), count)):
        data = io.BytesIO()
        # One changed pixel makes every file distinct.
        image.putpixel((number % PIXELS, number // PIXELS), (number % 256, 0, 0))
        image.save(data, "JPEG", quality=85)
        made.append(data.getvalue())
    return made


class InProcessBaseline:
    """Decoding and encoding in this process, as the service does them."""

    def __init__(self, encoder: BatchingEncoder, preprocess: Preprocess) -> None:
        self._encoder, self._prepare = encoder, InProcessPreparer(preprocess, DecodeLimits())
        self._team = ThreadPoolExecutor(cores())

    def one(self, data: bytes) -> object:
        """Decode and encode one image."""
        return self._encoder.encode_one(self._prepare(data).pixels).result()

    def decode(self, data: bytes) -> object:
        """Decode and preprocess one image."""
        return self._prepare(data)

    def many(self, images: Images) -> object:
        """Decode images on all cores, then encode them in batches."""
        return self._encoder.encode_many([made.pixels for made in self._team.map(self._prepare, images)])

    def encoding(self, images: Images) -> Callable[[], object]:
        """Return a call that encodes images in batches; they are decoded beforehand."""
        prepared = [self._prepare(data).pixels for data in images]
        return lambda: self._encoder.encode_many(prepared)


class Server:
    """A running server: its port and memory use."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.port, self._process = port, process

    @property
    def process_id(self) -> int:
        """Id of the server's process."""
        return self._process.pid

    def connect(self) -> http.client.HTTPConnection:
        """Open a persistent connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def codes(self) -> int:
        """Return the bytes of memory of the codes, with their ids and slots."""
        with closing(self.connect()) as connection:
            connection.request("GET", "/stats")
            return int(json.loads(connection.getresponse().read())["bytes"]["codes"])

    def memory(self) -> int:
        """Return the process's anonymous memory in bytes, without mapped files; 0 if unknown."""
        return memory_of(self._process.pid, "RssAnon")


@contextmanager
def serving(settings: Settings, results: Results) -> Iterator[Server]:
    """Start a server on a data folder; record the start time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    own = {
        "LOOKALIKE_DATA_DIR": str(settings.data_dir),
        "LOOKALIKE_DEMO": "off",
        "LOOKALIKE_PORT": str(port),
        # Adapting is another process, which would take CPU time from the server, and then change its codes.
        "LOOKALIKE_ADAPT": "off",
        "LOOKALIKE_WORKERS": str(settings.workers),
        "LOOKALIKE_INDEX_BACKEND": settings.index_backend,
        **({"LOOKALIKE_MILVUS_URI": settings.milvus_uri} if settings.milvus_uri else {}),
    }
    started = time.perf_counter()
    log = (settings.data_dir / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", "serve"], env=os.environ | own, stdout=log, stderr=log
    )
    try:
        server = Server(port, process)
        wait_until_ready(server, process, started + _START_TIMEOUT_S)
        results.value("start", time.perf_counter() - started, "s")
        yield server
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def wait_until_ready(server: Server, process: "subprocess.Popen[bytes]", until: float) -> None:
    """Poll the server until it is ready for searches."""
    while time.perf_counter() < until and process.poll() is None:
        try:
            with closing(server.connect()) as connection:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == _OK:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("The server did not start. Its log is server.log in the data folder")


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
        timings = time_interleaved(ways, seconds=6.0)
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
