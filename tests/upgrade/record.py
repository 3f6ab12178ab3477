"""Record a data folder of this version for upgrade tests; run once per release.

    python -m tests.upgrade.record

writes tests/upgrade/VERSION.tar.xz:

    pictures/ vectors/  as in the data folder
    jobs/               the archive of a job that has not started
    checkpoints/        a small network with random weights, active; the default one has an index version too, and one
                        with codes that were fitted to the catalogue
    backup/             a backup of the catalogue, taken last
    database.sql        a dump, because a cluster takes megabytes; {DATA} stands for the folder's path
    expected.json       what a later version must find: also an image in the trash, a pair of images that are no
                        duplicates, and a finished job
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import httpx2
import psycopg
import torch

from app.adaptation import adapt as adapting
from app.bootstrap import index_locations, open_database, open_fsync_guard
from app.catalogue.database.locks import Lock
from app.catalogue.embedded.postgres import embedded_postgres
from app.catalogue.embedded.server import PostgresServer
from app.settings import Settings
from models.checkpoint.files import describe, save
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess
from tests.conftest import running_server
from tests.crash.ledger import numbered_image

HERE = Path(__file__).parent
DATABASE, EXPECTED, BACKUP, CHECKPOINT = "database.sql", "expected.json", "backup", "checkpoints/own"
KEPT = ("pictures", "vectors", "jobs", "checkpoints", BACKUP, DATABASE, EXPECTED)
# Stands for the data folder's path in the recorded SQL.
DATA = "{DATA}"
SETTINGS = {"LOOKALIKE_VECTOR_DTYPE": "f16", "LOOKALIKE_DEMO": "off"}
# Images of the job that has not started.
QUEUED = {"queued/one.png": 300, "queued/two.png": 301}
# Images of the job that has finished.
IMPORTED = {"imported.png": 302}
_JOB_WITHIN_S = 120


def main() -> None:
    """Fill a data folder through the API and commands, and pack it."""
    with TemporaryDirectory() as folder:
        # As root, the embedded PostgreSQL runs under another account.
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        pack(data, record(data), HERE / f"{version('lookalike')}.tar.xz")


def pack(data: Path, expected: dict[str, Any], path: Path) -> None:
    """Pack a recorded data folder."""
    (data / EXPECTED).write_text(json.dumps(expected, indent=2))
    with tarfile.open(path, "w:xz") as archive:
        for name in KEPT:
            archive.add(data / name, name)


def record(data: Path) -> dict[str, Any]:
    """Fill a data folder, take a backup, write the dump; return what a later version must find."""
    with (
        embedded_postgres(data) as database_url,
        ExitStack() as until_the_server_has_stopped,
        running_server(data, **SETTINGS) as (url, _),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        expected = fill(client)
        import_archive(client, expected)
        until_the_server_has_stopped.enter_context(jobs_held(database_url))
        adapt_few(data)
        make_checkpoint(data / CHECKPOINT)
        lookalike(data, "reindex", str(data / CHECKPOINT))
        create_job(client, QUEUED)
    output = lookalike(data, "keys", "create", "shop", "--scope", "search", "--scope", "write")
    lookalike(data, "backup", str(data / BACKUP))
    expected |= {
        "api_key": next(word for word in output.split() if word.startswith("lk_")),
        "queued": QUEUED,
        "checkpoint": CHECKPOINT,
    }
    with embedded_postgres(data) as database_url:
        (data / DATABASE).write_text(dump(data, database_url).replace(str(data), DATA))
    return expected


def adapt_few(data: Path) -> None:
    """Fit codes to the few images of a catalogue, so that the recording has an adapted version."""
    settings = Settings(data_dir=data, _env_file=None)
    with (
        mock.patch.multiple(adapting, MIN_IMAGES=1, _MIN_GAIN=-1.0),
        open_database(settings) as database,
    ):
        adapting.adapt(database, index_locations(settings), open_fsync_guard(settings), lambda *_: None)


def make_checkpoint(path: Path) -> None:
    """Save a checkpoint of a small network with random weights."""
    torch.manual_seed(0)
    preprocess = Preprocess(BACKBONES["small"].min_image_size, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
    network = LatentHashNet("small", 64, 3, preprocess)
    with torch.no_grad():
        for weights in network.parameters():
            # Two values per tensor, so that the recording compresses well.
            weights.copy_(weights.sign() * weights.std() if weights.std() > 0 else weights)
    save(network, describe(network, path.name, ("one", "two", "three")), path.parent)


@contextmanager
def jobs_held(database_url: str) -> Iterator[None]:
    """Hold the job lock, so that no process starts a job during the block. Waits for the end of one that runs."""
    with psycopg.connect(libpq_url(database_url), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [Lock.JOBS.value])
        yield


def zipped(drawings: dict[str, int]) -> bytes:
    """A zip archive of drawings."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, number in drawings.items():
            archive.writestr(name, numbered_image(number))
    return packed.getvalue()


def lookalike(data: Path, *arguments: str) -> str:
    """Run a `lookalike` command on a data folder; return its output."""
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    environment = os.environ | SETTINGS | {"LOOKALIKE_DATA_DIR": str(data)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def fill(client: httpx2.Client) -> dict[str, Any]:
    """Add, replace, change and delete images, mark some as no duplicates; return the final contents."""
    pictures = {f"key {one}": {"drawing": one, "label": f"label {one % 3}", "price": one * 1.5} for one in range(12)}
    pictures["a product"] = {"drawing": 100, "label": None, "price": 3.0, "product": "boot"}
    pictures["in the trash"] = {"drawing": 101, "label": "boots", "price": 4.5}
    add(client, pictures)
    pictures["key 1"]["drawing"] = 50
    add(client, {"key 1": pictures["key 1"]})
    ids = {item["key"]: item["id"] for item in client.get("/images").json()["items"]}
    client.patch(f"/images/{ids['key 2']}", json={"label": "another"}).raise_for_status()
    pictures["key 2"]["label"] = "another"
    client.delete(f"/images/{ids['key 3']}").raise_for_status()
    del pictures["key 3"]
    client.delete(f"/images/{ids['in the trash']}").raise_for_status()
    trashed = pictures.pop("in the trash") | {"key": "in the trash", "id": ids["in the trash"]}
    distinct = [ids["key 4"], ids["key 5"]]
    client.post("/duplicates/distinct", json={"ids": distinct}).raise_for_status()
    return {
        "pictures": pictures,
        "deleted": ids["key 3"],
        "trashed": trashed,
        "distinct": distinct,
        "seq": client.get("/stats").json()["seq"],
    }


def import_archive(client: httpx2.Client, expected: dict[str, Any]) -> None:
    """Add images with a job, wait until it has finished, and add them and the job to what is expected."""
    job, until = create_job(client, IMPORTED), time.monotonic() + _JOB_WITHIN_S
    while job["state"] == "running":
        assert time.monotonic() < until, "the job does not end"
        time.sleep(0.1)
        job = client.get(f"/jobs/{job['id']}").json()
    assert (job["state"], job["created"]) == ("done", len(IMPORTED)), job
    expected["pictures"] |= {key: {"drawing": drawing, "label": None} for key, drawing in IMPORTED.items()}
    expected["job"] = {name: job[name] for name in ("id", "state", "total", "created", "rejected")}


def create_job(client: httpx2.Client, drawings: dict[str, int]) -> dict[str, Any]:
    """Upload an archive of drawings; return its job."""
    archive = ("drawings.zip", zipped(drawings), "application/zip")
    job: dict[str, Any] = client.post("/jobs", files={"archive": archive}).raise_for_status().json()
    return job


def add(client: httpx2.Client, pictures: dict[str, dict[str, Any]]) -> None:
    """Add or replace images in one request."""
    metadata = [
        {"key": key} | {name: value for name, value in one.items() if name != "drawing"}
        for key, one in pictures.items()
    ]
    files = [("images", (key, numbered_image(one["drawing"]), "image/png")) for key, one in pictures.items()]
    answer = client.post("/index", data={"metadata": json.dumps(metadata)}, files=files)
    assert all(item["status"] in ("created", "updated") for item in answer.raise_for_status().json()["items"])


def dump(data: Path, database_url: str) -> str:
    """Dump all tables and rows as SQL."""
    return run(data, "pg_dump", database_url, "--no-owner")


def load(data: Path, database_url: str, statements: str) -> None:
    """Load a dump into an empty database."""
    run(data, "psql", database_url, "--quiet", "--set=ON_ERROR_STOP=1", statements=statements)


def run(data: Path, program: str, database_url: str, *options: str, statements: str = "") -> str:
    """Run a PostgreSQL client program; return its output."""
    command = [
        str(PostgresServer.for_data_dir(data).programs / program),
        *options,
        f"--dbname={libpq_url(database_url)}",
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=statements).stdout


def libpq_url(database_url: str) -> str:
    """Convert an SQLAlchemy database URL to a libpq one."""
    return database_url.replace("postgresql+psycopg://", "postgresql://", 1)


if __name__ == "__main__":
    main()
