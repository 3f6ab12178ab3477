"""`lookalike serve` as processes: start, stop, restart, several workers, and failed starts."""

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

from app.api.middleware.loopback import NO_KEYS_WARNING
from app.catalogue.database.sessions import Database
from app.catalogue.index_versions import DEFAULT_MODEL
from app.catalogue.keys import create_key
from app.cli.serve import require_keys
from app.common.running_services import find_services
from app.common.scopes import Scope
from app.observability.multiprocess_metrics import PREFIX
from app.settings import Settings
from models.checkpoint.info import find_checkpoint
from tests.api.test_metrics import metric_value
from tests.conftest import running_server
from tests.images import corners, encoded

PICTURE, OTHER = encoded(corners(120, 90), "PNG"), encoded(corners(90, 120), "JPEG")
BOUNDARY = "picture-boundary"


class Client:
    """HTTP client with one connection, and so one worker."""

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
        """Return a value of /metrics; None if it is missing."""
        return metric_value(self.ask("GET", "/metrics").decode(), name, **labels)


def processes_of(data: Path) -> dict[int, str]:
    """Return all processes of a data folder: it is in the server's environment, and PostgreSQL's working directory."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = (process / "cwd").readlink().is_relative_to(data)
            if inside or os.fsencode(data) in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def workers_of(data: Path) -> list[int]:
    """Return the server's worker processes, oldest first."""
    return sorted(pid for pid, command in processes_of(data).items() if "spawn_main" in command)


def remaining_processes(data: Path, processes: Iterable[int]) -> dict[int, str]:
    """Wait for processes to end after the server, as Python's helper processes do, and return those that still run."""
    for pid in processes:
        with suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            select([process], [], [], 5)
            os.close(process)
    return processes_of(data)


@contextmanager
def suspended(processes: Iterable[int]) -> Iterator[None]:
    """Suspend processes for the length of the block."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def temporary_of(data: Path) -> Path:
    """Temporary folder of the server with two workers, which must be empty after its end."""
    return data.with_name("temporary")


def log_of(data: Path) -> str:
    return data.with_name(f"{data.name}.server.log").read_text()


@dataclass(frozen=True)
class FirstRun:
    """Result of a first start with a new data folder, ended by Ctrl-C."""

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
    return FirstRun(data, added, exit_code, processes, remaining_processes(data, processes), seconds)


@pytest.fixture(scope="module")
def two_workers(first_run: FirstRun) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A second start with the same data folder."""
    temporary_of(first_run.data).mkdir()
    with running_server(first_run.data, "--workers", "2", TMPDIR=str(temporary_of(first_run.data))) as started:
        yield started


@pytest.fixture
def each_worker(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> Iterator[tuple[Client, Client]]:
    """A client for each of the two workers: while one is suspended, the other one accepts the connection."""
    url, _ = two_workers
    workers = workers_of(first_run.data)
    assert len(workers) == 2
    with closing(Client(url)) as one, closing(Client(url)) as other:
        for client, idle in zip((one, other), workers, strict=True):
            with suspended([idle]):
                client.ask("GET", "/healthz")
        yield one, other


def test_empty_catalogue_is_filled_with_the_demo(server_url: str) -> None:
    with closing(Client(server_url)) as client:
        stats = client.json("GET", "/stats")
        first = client.json("GET", "/images?limit=1")["items"][0]
    assert stats["images"] >= 100
    assert stats["labels"] > 5
    assert first["label"]
    assert stats["model"]["name"] == DEFAULT_MODEL


def test_ctrl_c_ends_the_server_and_all_its_processes(first_run: FirstRun) -> None:
    assert first_run.exit_code == 0
    assert len(first_run.processes) > 2, "the server and PostgreSQL were found"
    assert first_run.left == {}
    assert not (first_run.data / "postgres" / "postmaster.pid").exists()
    assert first_run.seconds < 30
    assert "Traceback" not in log_of(first_run.data)


def test_running_service_is_found_in_its_data_folder_until_it_ends(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, server = two_workers
    assert [(service.url, service.pid) for service in find_services(first_run.data, None)] == [(url, server.pid)]
    with running_server(first_run.data, "--host", "0.0.0.0", LOOKALIKE_AUTH="off") as (other, process):  # noqa: S104 - is the test
        assert [service.url for service in find_services(first_run.data, None)] == [other, url]
        process.kill()
        process.wait(60)
        assert [service.url for service in find_services(first_run.data, None)] == [url]


def test_restart_keeps_indexed_images(first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]) -> None:
    with closing(Client(two_workers[0])) as client:
        assert client.json("GET", "/stats")["images"] == 1, "no demo images are added"
        assert client.nearest(PICTURE) == first_run.added
        assert client.ask("GET", f"/images/{first_run.added}/original") == PICTURE


def test_start_without_keys_logs_one_warning(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    lines = [line for line in log_of(first_run.data).splitlines() if "There are no API keys" in line]
    assert len(lines) == 2, "one per start, not per worker"
    assert all("reverse proxy" in line and "lookalike keys create NAME" in line for line in lines)


def test_listening_on_the_network_requires_a_key_or_auth_off(settings: Settings, database: Database) -> None:
    local, public = (settings.model_copy(update={"auth": "auto", "host": host}) for host in ("LOCALHOST", "::"))
    assert require_keys(local, database) == [NO_KEYS_WARNING]
    with pytest.raises(Exit):
        require_keys(public, database)
    assert require_keys(settings.model_copy(update={"auth": "off", "host": "::"}), database) == []
    with database.transaction() as session:
        create_key(session, "one", [Scope.SEARCH])
    assert require_keys(local, database) == []
    assert require_keys(public, database) == []


def test_additions_and_deletions_are_visible_in_the_other_worker_at_once(each_worker: tuple[Client, Client]) -> None:
    one, other = each_worker
    one.ask("DELETE", f"/images/{one.add(OTHER)}")
    one.nearest(OTHER)
    applied = [client.json("GET", "/stats")["applied_seq"] for client in (one, other)]
    assert applied[0] > applied[1], "the other worker has not synchronised yet"
    for writer, reader in ((one, other), (other, one)):
        added = writer.add(OTHER)
        assert reader.nearest(OTHER) == added
        reader.ask("DELETE", f"/images/{added}")
        assert writer.nearest(OTHER) != added
        assert reader.nearest(OTHER) != added


def test_metrics_are_summed_over_workers(each_worker: tuple[Client, Client]) -> None:
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


def test_killed_worker_is_replaced_and_its_counters_are_kept(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]], each_worker: tuple[Client, Client]
) -> None:
    # The first client's connection was accepted while the first worker was suspended, so it belongs to the other.
    client, killed = each_worker[0], workers_of(first_run.data)[0]
    searches = client.metric("lookalike_searches_total", mode="hds")
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (now := client.metric("lookalike_workers")) != 2 or killed in processes_of(first_run.data):
        assert time.monotonic() < deadline, f"{now} workers"
        time.sleep(0.2)
    assert client.metric("lookalike_searches_total", mode="hds") == searches


def test_acknowledged_images_are_found_over_any_connection(
    two_workers: tuple[str, subprocess.Popen[bytes]],
) -> None:
    def nearest_over_new_connection() -> int:
        with closing(Client(two_workers[0])) as client:
            return client.nearest(OTHER)

    with closing(Client(two_workers[0])) as client:
        added = client.add(OTHER)
        assert [nearest_over_new_connection() for _ in range(10)] == [added] * 10
        client.ask("DELETE", f"/images/{added}")
        assert added not in [nearest_over_new_connection() for _ in range(10)]


def failed_start(data: Path, *options: str) -> str:
    """Assert that a start fails and return its error message."""
    command = [sys.executable, "-m", "app.cli.main", "serve", "--data-dir", str(data), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_missing_checkpoint_fails_the_start(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    assert "There is no checkpoint unheard-of" in failed_start(first_run.data, "--model", "unheard-of")


def test_model_that_differs_from_the_catalogues_fails_the_start(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    description = json.loads(find_checkpoint(DEFAULT_MODEL).read_text())
    own, path = description["fingerprint"], tmp_path / "other.json"
    path.write_text(json.dumps({**description, "name": "other", "fingerprint": "0" * 16}))
    sentence = failed_start(first_run.data, "--model", str(path))
    assert re.search(rf"requested network other \(0{{16}}\) is not the one .*, {DEFAULT_MODEL} \({own}\)", sentence)


def test_port_in_use_fails_the_start_and_keeps_the_running_server(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, server = two_workers
    assert "address already in use" in failed_start(first_run.data, "--port", url.rpartition(":")[2])
    with closing(Client(url)) as client:
        assert client.json("GET", "/readyz")["status"] == "ready", "the failed start did not stop its database"
    assert server.poll() is None


def test_failed_fsync_ends_the_server_with_an_error(tmp_path: Path) -> None:
    data, broken = tmp_path / "data", tmp_path / "broken"
    # Python imports a module of this name at its start.
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


def test_workers_that_fail_to_start_are_reported(tmp_path: Path) -> None:
    program = (
        "import sys, uvicorn; from app.cli.serve import workers_failed; from app.settings import Settings\n"
        f"settings = Settings(data_dir={str(tmp_path / 'data')!r})\n"
        "config = uvicorn.Config('nothing:app', port=0, workers=2, timeout_worker_healthcheck=5)\n"
        "sys.exit(42 if workers_failed(config, settings) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 42


# Must be the last test, since it ends the server that the others share.
def test_sigterm_ends_all_workers_cleanly(
    first_run: FirstRun, two_workers: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, server = two_workers
    processes = processes_of(first_run.data)
    assert len(processes) > 4, "the server, its workers and PostgreSQL were found"
    until = time.monotonic() + 60
    while len(list(temporary_of(first_run.data).glob(f"{PREFIX}*/counter_*.db"))) < 2:
        assert time.monotonic() < until, "each worker has a file of counters"
        with closing(Client(url)) as client:
            client.ask("GET", "/healthz")
    server.terminate()
    assert server.wait(60) == 0
    assert remaining_processes(first_run.data, processes) == {}
    assert list(temporary_of(first_run.data).glob(f"{PREFIX}*")) == []
    assert "Traceback" not in log_of(first_run.data)
