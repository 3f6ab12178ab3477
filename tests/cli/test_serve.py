"""`lookalike serve` as processes: started, stopped, started again, with several workers, and refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from select import select
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer import Exit

from app.api.middleware.loopback import WITHOUT_KEYS
from app.catalogue.database.sessions import Database
from app.catalogue.generations import DEFAULT_MODEL
from app.catalogue.keys import Scope, create_key
from app.cli.serve import require_keys
from app.observability.multiprocess_metrics import PREFIX
from app.settings import Settings
from models.checkpoint.info import find
from tests.api.test_metrics import metric
from tests.conftest import running_server
from tests.pictures import corners, encoded

PICTURE, OTHER = encoded(corners(120, 90), "PNG"), encoded(corners(90, 120), "JPEG")
BOUNDARY = "picture-boundary"


class Client:
    """One connection, and so one worker."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        self._connection.request(method, path, body, {"Content-Type": kind} if body else {})
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status < 300, content
        return content

    def json(self, method: str, path: str, *body: Any) -> Any:
        return json.loads(self.ask(method, path, *body))

    def send(self, path: str, field: str, data: bytes) -> Any:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a"\r\n\r\n'.encode()
        body = head + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        return self.json("POST", path, body, f"multipart/form-data; boundary={BOUNDARY}")

    def add(self, data: bytes) -> int:
        (item,) = self.send("/index", "images", data)["items"]
        assert item["id"] is not None, item["error"]
        return int(item["id"])

    def nearest(self, data: bytes) -> int:
        return int(self.send("/search?k=1", "image", data)["results"][0]["id"])

    def metric(self, name: str, /, **labels: str) -> float | None:
        """A value of /metrics; None where it is not there."""
        return metric(self.ask("GET", "/metrics").decode(), name, **labels)


def processes_of(data: Path) -> dict[int, str]:
    """All processes of a data folder: server and workers have it in their environment, PostgreSQL works in it."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            at_home = (process / "cwd").readlink().is_relative_to(data)
            if at_home or os.fsencode(data) in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def workers_of(data: Path) -> list[int]:
    """The server's worker processes, the oldest first."""
    return sorted(pid for pid, command in processes_of(data).items() if "spawn_main" in command)


def left_of(data: Path, processes: Iterable[int]) -> dict[int, str]:
    """What of these still runs, a moment after the server has ended: Python's own helpers see its end, and follow."""
    for pid in processes:
        with suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            select([process], [], [], 5)
            os.close(process)
    return processes_of(data)


@contextmanager
def standing_still(processes: Iterable[int]) -> Iterator[None]:
    """Holds processes for the length of the block."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def temporary_of(data: Path) -> Path:
    """Where the server with two workers may leave nothing."""
    return data.with_name("temporary")


def log_of(data: Path) -> str:
    return data.with_name(f"{data.name}.server.log").read_text()


@dataclass(frozen=True)
class FirstRun:
    """What happened between the first start over a new folder and Ctrl-C."""

    data: Path
    added: int
    exit_code: int
    processes: dict[int, str]
    left: dict[int, str]
    seconds: float


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    data = tmp_path_factory.mktemp("serve") / "data"
    with running_server(data, LOOKALIKE_DEMO="off") as (url, process), closing(Client(url)) as client:
        added = client.add(PICTURE)
        processes = processes_of(data)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        exit_code = process.wait(60)
        seconds = time.monotonic() - began
    return FirstRun(data, added, exit_code, processes, left_of(data, processes), seconds)


@pytest.fixture(scope="module")
def two_workers(first_run: FirstRun) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The second start over the same folder."""
    temporary_of(first_run.data).mkdir()
    with running_server(first_run.data, "--workers", "2", TMPDIR=str(temporary_of(first_run.data))) as started:
        yield started


@pytest.fixture
def each_worker(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> Iterator[tuple[Client, Client]]:
    """A connection to each of the two workers: while one stands still, the other one answers."""
    url, _ = two_workers
    workers = workers_of(first_run.data)
    assert len(workers) == 2
    with closing(Client(url)) as one, closing(Client(url)) as other:
        for client, idle in zip((one, other), workers, strict=True):
            with standing_still([idle]):
                client.ask("GET", "/healthz")
        yield one, other


def test_an_empty_catalogue_starts_with_the_demo(server_url: str) -> None:
    with closing(Client(server_url)) as client:
        stats = client.json("GET", "/stats")
        first = client.json("GET", "/images?limit=1")["items"][0]
    assert stats["images"] >= 100
    assert stats["labels"] > 5
    assert first["label"]
    assert stats["model"]["name"] == DEFAULT_MODEL


def test_ctrl_c_ends_it_cleanly_and_leaves_no_process_behind(first_run: FirstRun) -> None:
    assert first_run.exit_code == 0
    assert len(first_run.processes) > 2, "the server and PostgreSQL were found"
    assert first_run.left == {}
    assert not (first_run.data / "postgres" / "postmaster.pid").exists()
    assert first_run.seconds < 30
    assert "Traceback" not in log_of(first_run.data)


def test_a_second_start_keeps_what_was_indexed(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    with closing(Client(two_workers[0])) as client:
        assert client.json("GET", "/stats")["images"] == 1, "no demo either"
        assert client.nearest(PICTURE) == first_run.added
        assert client.ask("GET", f"/images/{first_run.added}/original") == PICTURE


def test_each_start_without_keys_says_in_one_line_what_that_means(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    lines = [line for line in log_of(first_run.data).splitlines() if "There are no API keys" in line]
    assert len(lines) == 2, "one a start, not one a worker"
    assert all("reverse proxy" in line and "lookalike keys create NAME" in line for line in lines)


def test_keys_decide_where_a_service_listens_and_what_it_warns_of(settings: Settings, database: Database) -> None:
    local, open_to_all = (settings.model_copy(update={"auth": "auto", "host": host}) for host in ("LOCALHOST", "::"))
    assert require_keys(local, database) == [WITHOUT_KEYS]
    with pytest.raises(Exit):
        require_keys(open_to_all, database)
    assert require_keys(settings.model_copy(update={"auth": "off", "host": "::"}), database) == []
    with database.begin() as session:
        create_key(session, "one", [Scope.SEARCH])
    assert require_keys(local, database) == []
    assert require_keys(open_to_all, database) == []


def test_what_one_worker_adds_and_deletes_counts_at_once_in_the_other(each_worker: tuple[Client, Client]) -> None:
    one, other = each_worker
    one.ask("DELETE", f"/images/{one.add(OTHER)}")
    one.nearest(OTHER)
    applied = [client.json("GET", "/stats")["applied_seq"] for client in (one, other)]
    assert applied[0] > applied[1], "they are two, and the other has had no reason to look"
    for writer, reader in ((one, other), (other, one)):
        added = writer.add(OTHER)
        assert reader.nearest(OTHER) == added
        reader.ask("DELETE", f"/images/{added}")
        assert writer.nearest(OTHER) != added
        assert reader.nearest(OTHER) != added


def test_workers_count_together(each_worker: tuple[Client, Client]) -> None:
    one, other = each_worker
    before = one.metric("lookalike_searches_total", mode="hds") or 0
    for client, searches in ((one, 2), (other, 3)):
        for _ in range(searches):
            client.nearest(PICTURE)
    for client in (one, other):
        assert client.metric("lookalike_searches_total", mode="hds") == before + 5
        assert client.metric("lookalike_workers") == 2
        assert client.metric("lookalike_images") == 1
        assert client.metric("lookalike_http_requests_in_progress") == 1


def test_a_worker_that_died_has_done_what_it_did_and_does_nothing_more(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]], each_worker: tuple[Client, Client]
) -> None:
    # While the first of them stood still, the other one took the first connection.
    lives, killed = each_worker[0], workers_of(first_run.data)[0]
    searches = lives.metric("lookalike_searches_total", mode="hds")
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (now := lives.metric("lookalike_workers")) != 2 or killed in processes_of(first_run.data):
        assert time.monotonic() < deadline, f"{now} workers"
        time.sleep(0.2)
    assert lives.metric("lookalike_searches_total", mode="hds") == searches


def test_what_was_acknowledged_is_found_over_any_connection(
    two_workers: tuple[str, subprocess.Popen[bytes]],
) -> None:
    def fresh() -> int:
        with closing(Client(two_workers[0])) as client:
            return client.nearest(OTHER)

    with closing(Client(two_workers[0])) as client:
        added = client.add(OTHER)
        assert [fresh() for _ in range(10)] == [added] * 10
        client.ask("DELETE", f"/images/{added}")
        assert added not in [fresh() for _ in range(10)]


def refused(data: Path, *options: str) -> str:
    """What a start says that cannot be."""
    command = [sys.executable, "-m", "app.cli.main", "serve", "--data-dir", str(data), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_network_that_is_not_there_is_refused_in_a_sentence(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    assert "There is no checkpoint unheard-of" in refused(first_run.data, "--model", "unheard-of")


def test_a_network_that_is_not_the_catalogues_is_refused_in_a_sentence(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    description = json.loads(find(DEFAULT_MODEL).read_text())
    own, path = description["fingerprint"], tmp_path / "other.json"
    path.write_text(json.dumps({**description, "name": "other", "fingerprint": "0" * 16}))
    sentence = refused(first_run.data, "--model", str(path))
    assert re.search(
        rf"encoded by the network {DEFAULT_MODEL} \({own}\), and other \(0{{16}}\) was asked for", sentence
    )


def test_a_port_in_use_is_refused_in_a_sentence(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, server = two_workers
    assert "address already in use" in refused(first_run.data, "--port", url.rpartition(":")[2])
    with closing(Client(url)) as client:
        assert client.json("GET", "/readyz")["status"] == "ready", "the other start did not take its database along"
    assert server.poll() is None


def test_a_disk_that_failed_is_a_failure(tmp_path: Path) -> None:
    data, broken = tmp_path / "data", tmp_path / "broken"
    # Python imports a module of this name by itself before it does anything else.
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, os\n"
        "sync = os.fsync\n"
        "def fsync(file):\n"
        f"    if os.path.exists({str(broken)!r}):\n"
        "        raise OSError(errno.EIO, os.strerror(errno.EIO))\n"
        "    sync(file)\n"
        "os.fsync = fsync\n"
    )
    with running_server(data, PYTHONPATH=str(tmp_path), LOOKALIKE_DEMO="off") as (url, server):
        broken.touch()
        with closing(Client(url)) as client, pytest.raises(AssertionError, match="The disk failed"):
            client.add(PICTURE)
        assert server.wait(60) == 1
    assert "Traceback" not in log_of(data)
    assert "the disk failed" in log_of(data)


def test_workers_that_cannot_start_are_a_failure() -> None:
    program = (
        "import sys, uvicorn; from app.cli.serve import workers_failed\n"
        "config = uvicorn.Config('nothing:app', port=0, workers=2, timeout_worker_healthcheck=5)\n"
        "sys.exit(42 if workers_failed(config) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 42


# The last one: it ends the server that the others share.
def test_sigterm_ends_all_workers_cleanly(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, server = two_workers
    processes = processes_of(first_run.data)
    assert len(processes) > 4, "the server, its workers and PostgreSQL were found"
    until = time.monotonic() + 60
    while len(list(temporary_of(first_run.data).glob(f"{PREFIX}*/counter_*.db"))) < 2:
        assert time.monotonic() < until, "each worker counts in a file of its own"
        with closing(Client(url)) as client:
            client.ask("GET", "/healthz")
    server.terminate()
    assert server.wait(60) == 0
    assert left_of(first_run.data, processes) == {}
    assert list(temporary_of(first_run.data).glob(f"{PREFIX}*")) == []
    assert "Traceback" not in log_of(first_run.data)
