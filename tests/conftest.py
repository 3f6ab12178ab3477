"""Shared fixtures: PostgreSQL databases, a service with a fake network, HTTP clients and real servers."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Test workers run in parallel, and threads that synchronise at every layer then take many times as long.
    # Read when torch is loaded, also in processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from fastapi.testclient import TestClient
from sqlalchemy import make_url

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue.database.migrations import upgrade
from app.catalogue.database.sessions import Database
from app.main import create_app
from app.settings import Settings
from tests.catalogue.postgres import connect, database_url, postgres_url
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.milvus import drop_collections, running_milvus

__all__ = ["database_url", "postgres_url"]

TEMPLATE = "migrated"
# Tests with one of these fixtures, in one of these folders or in one of these files are marked slow.
SLOW_FIXTURES = {"browser", "in_milvus", "milvus_uri", "s3", "server_url"}
SLOW_PATHS = tuple(
    Path(__file__).parent / name
    for name in ("crash", "upgrade", "web", "cli/test_serve.py", "models/test_distributed.py")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests slow that need a browser, Milvus or their own servers; other slow tests are marked explicitly."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & SLOW_FIXTURES or any(map(item.path.is_relative_to, SLOW_PATHS)):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder shared by all processes of the test run."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def model_cache_dir(shared_folder: Path) -> Iterator[Path]:
    """Cache of converted networks, shared by all tests and their servers, because converting takes seconds."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOOKALIKE_MODEL_CACHE_DIR", str(shared_folder / "model-cache"))
        yield shared_folder / "model-cache"


@pytest.fixture(scope="session")
def demo_data(shared_folder: Path, model_cache_dir: Path) -> Path:
    """Data folder with the demo catalogue, to copy; created once for all processes of the test run."""
    data = shared_folder / "demo" / "data"
    with (shared_folder / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data.exists():
            with running_server(shared_folder / "demo.unfinished" / "data"):
                """Wait until the server is ready, which is after it has created the catalogue."""
            (shared_folder / "demo.unfinished").rename(data.parent)
    return data


def copy_data(data_dir: Path, to: Path) -> Path:
    """Copy a data folder, including ownership, which the database requires; return the copy."""
    subprocess.run(["cp", "--archive", str(data_dir), str(to)], check=True)
    return to


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """Name of a database with all migrations applied, to copy."""
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    url = make_url(postgres_url).set(database=TEMPLATE).render_as_string(hide_password=False)
    with closing(Database(url)) as database:
        upgrade(database)
    return TEMPLATE


@pytest.fixture
def migrated_url(postgres_url: str, template: str) -> Iterator[str]:
    """URL of a new database with all migrations applied."""
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE one_migrated TEMPLATE {template} STRATEGY file_copy")
        yield make_url(postgres_url).set(database="one_migrated").render_as_string(hide_password=False)
        connection.execute("DROP DATABASE one_migrated WITH (FORCE)")


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url)) as opened:
        yield opened


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a Milvus for all tests: LOOKALIKE_MILVUS_URI if set, else milvus-lite."""
    if uri := os.environ.get("LOOKALIKE_MILVUS_URI"):
        yield uri
        return
    with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server.uri


@pytest.fixture(scope="session", autouse=True)
def run_in_milvus(request: pytest.FixtureRequest) -> Iterator[None]:
    """If LOOKALIKE_INDEX_BACKEND is `milvus`, run every service of the test run with Milvus."""
    with pytest.MonkeyPatch.context() as environment:
        if os.environ.get("LOOKALIKE_INDEX_BACKEND") == "milvus":
            environment.setenv("LOOKALIKE_MILVUS_URI", request.getfixturevalue("milvus_uri"))
        yield


@pytest.fixture
def in_milvus(settings: Settings, milvus_uri: str) -> Iterator[Settings]:
    """Settings of a service with its index in Milvus, regardless of the environment."""
    yield settings.model_copy(update={"index_backend": "milvus", "milvus_uri": milvus_uri})
    drop_collections(milvus_uri, str(settings.database_url))


@pytest.fixture(scope="session")
def common_settings(run_in_milvus: None) -> Settings:
    """Settings of the test run, read once."""
    # Most tests of deletions expect files and F7 to be freed at once; those of the trash set it.
    return Settings(demo="off", auth="off", trash_days=0, _env_file=None)


@pytest.fixture
def settings(tmp_path: Path, migrated_url: str, common_settings: Settings) -> Iterator[Settings]:
    created = common_settings.model_copy(update={"data_dir": tmp_path / "data", "database_url": migrated_url})
    yield created
    if created.index_backend == "milvus" and created.milvus_uri is not None:
        drop_collections(created.milvus_uri, migrated_url)


@pytest.fixture
def service(settings: Settings, database: Database) -> Iterator[Service]:
    """The service with a real database and a fake network."""
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as opened:
        yield opened


@pytest.fixture
def free_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free the disk space of deleted vectors at once."""
    monkeypatch.setattr("app.search.local.index._FREE_DELAY_S", 0.0)
    monkeypatch.setattr("app.search.local.index._MIN_FREED", 1)


def open_with_fake(settings: Settings) -> AbstractContextManager[Service]:
    """Open a service as `open_service` does, but with the fake network."""

    @contextmanager
    def opened() -> Iterator[Service]:
        with (
            closing(opened_database(settings)) as database,
            build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service,
        ):
            yield service

    return opened()


def opened_database(settings: Settings) -> Database:
    return Database(str(settings.database_url), statement_seconds=settings.statement_timeout_seconds)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """HTTP client of the application with the fake network; exceptions become responses, as in production."""
    with TestClient(create_app(settings, open_with_fake), raise_server_exceptions=False) as opened:
        yield opened


@contextmanager
def running_server(data_dir: Path, *options: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `lookalike serve`; yield its URL and process, and end it with SIGTERM."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = os.environ | {"LOOKALIKE_PORT": str(port), "LOOKALIKE_DATA_DIR": str(data_dir)} | variables
    command = [sys.executable, "-m", "app.cli.main", "serve", *options]
    with (data_dir.parent / f"{data_dir.name}.server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server exited with {process.returncode}"
        try:
            with urlopen(f"{url}/readyz", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the server was not ready after {seconds} s")


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory, demo_data: Path) -> Iterator[str]:
    """URL of a real server with a shipped network and the demo catalogue."""
    with running_server(copy_data(demo_data, tmp_path_factory.mktemp("server") / "data")) as (url, _):
        yield url
