"""What tests share: a real PostgreSQL, a service over it with a fake network, a client, and a real server."""

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
    # Workers run beside each other, and threads that wait for each other at every layer take many times as long.
    # Read when torch is loaded, also in the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from fastapi.testclient import TestClient
from sqlalchemy import make_url

from app.bootstrap import Service, assemble
from app.catalogue.database.migrations import upgrade
from app.catalogue.database.sessions import Database
from app.main import create_app
from app.settings import Settings
from tests.catalogue.postgres import connect, database_url, postgres_url
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.milvus import drop_collections, running_milvus

__all__ = ["database_url", "postgres_url"]

TEMPLATE = "migrated"
# Tests that use one of these, or lie in one of these folders, are marked as slow.
SLOW_FIXTURES = {"browser", "in_milvus", "milvus_uri", "s3", "server_url"}
SLOW_FOLDERS = tuple(Path(__file__).parent / name for name in ("crash", "upgrade", "web"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what needs a browser, Milvus or servers of its own; other tests carry the mark themselves."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & SLOW_FIXTURES or any(map(item.path.is_relative_to, SLOW_FOLDERS)):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the test run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def model_cache_dir(shared_folder: Path) -> Iterator[Path]:
    """Networks as converted for this machine, which takes seconds: once for all tests and the servers they start."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOOKALIKE_MODEL_CACHE_DIR", str(shared_folder / "model-cache"))
        yield shared_folder / "model-cache"


@pytest.fixture(scope="session")
def demo_data(shared_folder: Path, model_cache_dir: Path) -> Path:
    """A data folder with the demo catalogue, to copy from; made once for all processes of the test run."""
    made = shared_folder / "demo" / "data"
    with (shared_folder / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with running_server(shared_folder / "demo.unfinished" / "data"):
                """Draws the catalogue before it is ready."""
            (shared_folder / "demo.unfinished").rename(made.parent)
    return made


def copy_data(data_dir: Path, to: Path) -> Path:
    """Copies a data folder with its owners, which the database needs; returns the copy."""
    subprocess.run(["cp", "--archive", str(data_dir), str(to)], check=True)
    return to


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """A database with the tables in it, to copy from."""
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    url = make_url(postgres_url).set(database=TEMPLATE).render_as_string(hide_password=False)
    with closing(Database(url)) as database:
        upgrade(database)
    return TEMPLATE


@pytest.fixture
def migrated_url(postgres_url: str, template: str) -> Iterator[str]:
    """A database of the test's own, with the tables in it."""
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
    """The address of a Milvus for all tests: the one that LOOKALIKE_MILVUS_URI names, or milvus-lite."""
    if uri := os.environ.get("LOOKALIKE_MILVUS_URI"):
        yield uri
        return
    with running_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server.uri


@pytest.fixture(scope="session", autouse=True)
def whole_run_in_milvus(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where LOOKALIKE_INDEX_BACKEND asks for it, tells every service of the run where Milvus is."""
    with pytest.MonkeyPatch.context() as environment:
        if os.environ.get("LOOKALIKE_INDEX_BACKEND") == "milvus":
            environment.setenv("LOOKALIKE_MILVUS_URI", request.getfixturevalue("milvus_uri"))
        yield


@pytest.fixture
def in_milvus(settings: Settings, milvus_uri: str) -> Iterator[Settings]:
    """The settings of a service whose catalogue is in Milvus, whatever the run's are."""
    yield settings.model_copy(update={"index_backend": "milvus", "milvus_uri": milvus_uri})
    drop_collections(milvus_uri, str(settings.database_url))


@pytest.fixture
def settings(tmp_path: Path, migrated_url: str) -> Iterator[Settings]:
    data = tmp_path / "data"
    made = Settings(data_dir=data, database_url=migrated_url, demo="off", auth="off", _env_file=None)
    yield made
    if made.index_backend == "milvus" and made.milvus_uri is not None:
        drop_collections(made.milvus_uri, migrated_url)


@pytest.fixture
def service(settings: Settings, database: Database) -> Iterator[Service]:
    """The real service over the real database, with a network that costs nothing."""
    with assemble(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has vectors that no picture has any more give back their disk at once."""
    monkeypatch.setattr("app.search.index._FREE_DELAY_S", 0.0)
    monkeypatch.setattr("app.search.index._MIN_FREED", 1)


def open_with_fake(settings: Settings) -> AbstractContextManager[Service]:
    """Opens a service as `open_service` does, with the fake network."""

    @contextmanager
    def opened() -> Iterator[Service]:
        with (
            closing(opened_database(settings)) as database,
            assemble(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service,
        ):
            yield service

    return opened()


def opened_database(settings: Settings) -> Database:
    return Database(str(settings.database_url), statement_seconds=settings.statement_timeout_seconds)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """An HTTP client of the application with the fake network; exceptions become answers, as in production."""
    with TestClient(create_app(settings, open_with_fake), raise_server_exceptions=False) as opened:
        yield opened


@contextmanager
def running_server(data_dir: Path, *options: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs `lookalike serve` as a person does; yields its address and process, and ends it with SIGTERM."""
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
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            with urlopen(f"{url}/readyz", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the server was not ready after {seconds} s")


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory, demo_data: Path) -> Iterator[str]:
    """A real server with the shipped network and the demo catalogue."""
    with running_server(copy_data(demo_data, tmp_path_factory.mktemp("server") / "data")) as (url, _):
        yield url
