"""Start a server on a synthetic catalogue, beside decoding and encoding in this process.

The catalogue has rows, codes and F7, and no image files. Queries and added images are the demo's, as JPEGs.
"""

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from app.bootstrap import index_locations, open_database
from app.catalogue import index_versions
from app.demo.catalogue import demo_images
from app.model_switch.index_factory import open_index
from app.model_switch.networks import model_cache_dir
from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from app.search.encode.batching import BatchingEncoder, open_encoder
from app.settings import Settings
from benchmarks.measure import cores, memory_of
from benchmarks.options import Say
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue
from benchmarks.synthetic.populated import PopulatedCatalogue
from models.checkpoint.info import CheckpointInfo, find_checkpoint, read_info
from models.network.preprocess import Preprocess

MODEL, QUERIES, PIXELS = "general", 64, 640
_ROW_BYTES, _OK, _START_TIMEOUT_S = 700, 200, 300

Images = list[bytes]


def bytes_needed(images: int) -> int:
    """Return the disk space that a catalogue takes, in bytes."""
    return images * (4 * read_info(find_checkpoint(MODEL)).feature_dim + _ROW_BYTES)


@contextmanager
def catalogue_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary data folder that PostgreSQL's account can reach; run as root, it has one of its own."""
    with TemporaryDirectory(dir=folder) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@dataclass(frozen=True)
class FilledService:
    """A running server with a synthetic catalogue, and the same work in this process."""

    settings: Settings
    info: CheckpointInfo
    server: "Server"
    bare: "InProcessBaseline"


@contextmanager
def filled_service(folder: Path, images: int, results: Results, say: Say) -> Iterator[FilledService]:
    """Fill a catalogue in a temporary folder, and start a server on it."""
    info = read_info(find_checkpoint(MODEL))
    with ExitStack() as stack:
        settings = Settings(data_dir=stack.enter_context(catalogue_folder(folder)), demo="off", model=MODEL)
        say(f"filling a catalogue with {images:,} made pictures")
        fill(settings, info, images)
        encoder, _ = open_encoder(find_checkpoint(MODEL), "cpu", "f32", model_cache_dir(settings))
        bare = InProcessBaseline(stack.enter_context(closing(encoder)), info.preprocess)
        yield FilledService(settings, info, stack.enter_context(serving(settings, results)), bare)


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
