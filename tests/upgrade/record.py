"""Records the data folder of this version, for later versions to open: run once, when a version is released.

    python -m tests.upgrade.record

writes tests/upgrade/VERSION.tar.xz: pictures and vectors as they lie in the folder, the database as SQL, because a
cluster's own files are megabytes, and what a later version has to find in `expected.json`.
"""

import json
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from app.catalogue.embedded import embedded_postgres
from app.catalogue.embedded_server import Server
from tests.conftest import running_server
from tests.crash.ledger import drawing

HERE = Path(__file__).parent
DATABASE, EXPECTED = "database.sql", "expected.json"
KEPT = ("pictures", "vectors", DATABASE, EXPECTED)


def main() -> None:
    """Fills a data folder as people do, and packs it."""
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with running_server(data, LOOKALIKE_DEMO="off") as (url, _), httpx2.Client(base_url=url, timeout=60) as client:
            expected = fill(client)
        said = lookalike(data, "keys", "create", "shop", "--scope", "search", "--scope", "write")
        expected["api_key"] = next(word for word in said.split() if word.startswith("lk_"))
        (data / EXPECTED).write_text(json.dumps(expected, indent=2))
        with embedded_postgres(data) as database_url:
            (data / DATABASE).write_text(dump(data, database_url))
        with tarfile.open(HERE / f"{version('lookalike')}.tar.xz", "w:xz") as archive:
            for name in KEPT:
                archive.add(data / name, name)


def lookalike(data: Path, *arguments: str) -> str:
    """Runs a command over a data folder, and returns what it says."""
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    environment = {"LOOKALIKE_DATA_DIR": str(data)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def fill(client: httpx2.Client) -> dict[str, Any]:
    """Adds, replaces, describes and deletes pictures; returns what is there in the end."""
    pictures = {f"key {one}": {"drawing": one, "label": f"label {one % 3}", "price": one * 1.5} for one in range(8)}
    pictures["a product"] = {"drawing": 100, "label": None, "price": 3.0, "product": "boot"}
    add(client, pictures)
    pictures["key 1"]["drawing"] = 50
    add(client, {"key 1": pictures["key 1"]})
    ids = {item["key"]: item["id"] for item in client.get("/images").json()["items"]}
    client.patch(f"/images/{ids['key 2']}", json={"label": "another"}).raise_for_status()
    pictures["key 2"]["label"] = "another"
    client.delete(f"/images/{ids['key 3']}").raise_for_status()
    del pictures["key 3"]
    return {"pictures": pictures, "deleted": ids["key 3"], "seq": client.get("/stats").json()["seq"]}


def add(client: httpx2.Client, pictures: dict[str, dict[str, Any]]) -> None:
    """Adds pictures in one request, or replaces those of the same key."""
    about = [
        {"key": key} | {name: value for name, value in one.items() if name != "drawing"}
        for key, one in pictures.items()
    ]
    files = [("images", (key, drawing(one["drawing"]), "image/png")) for key, one in pictures.items()]
    answer = client.post("/index", data={"metadata": json.dumps(about)}, files=files)
    assert all(item["status"] in ("created", "updated") for item in answer.raise_for_status().json()["items"])


def dump(data: Path, database_url: str) -> str:
    """Returns all tables and rows as SQL."""
    return run(data, "pg_dump", database_url, "--no-owner")


def load(data: Path, database_url: str, statements: str) -> None:
    """Runs what `dump` returned, in an empty database."""
    run(data, "psql", database_url, "--quiet", "--set=ON_ERROR_STOP=1", statements=statements)


def run(data: Path, program: str, database_url: str, *options: str, statements: str = "") -> str:
    """Runs one of PostgreSQL's own programs, and returns what it says."""
    address = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    command = [str(Server.of(data).programs / program), *options, f"--dbname={address}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=statements).stdout


if __name__ == "__main__":
    main()
