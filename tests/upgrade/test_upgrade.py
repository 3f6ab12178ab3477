"""Data folders that earlier versions left: this version opens them, finds everything, and can give them back."""

import json
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from alembic import command

from app.catalogue.database.migrations import config, revision, upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.embedded.postgres import embedded_postgres
from tests.conftest import running_server
from tests.crash.ledger import drawing
from tests.upgrade.record import BACKUP, DATA, DATABASE, EXPECTED, dump, load, lookalike

RECORDED = sorted(Path(__file__).parent.glob("*.tar.xz"))
# Recordings have a backup from 0.3.0 on.
WITH_BACKUP = [path for path in RECORDED if path.name != "0.2.0.tar.xz"]
# Networks compute a little differently on other processors.
NEXT_TO_NOTHING = 0.01


@dataclass(frozen=True)
class Left:
    """A data folder of an earlier version, the SQL that its database was made from, and what has to be in it."""

    data: Path
    sql: str
    expected: dict[str, Any]


@pytest.fixture(params=RECORDED, ids=lambda path: path.name.removesuffix(".tar.xz"))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    data = tmp_path / "data"
    with tarfile.open(request.param) as archive:
        archive.extractall(data, filter="data")
    sql = (data / DATABASE).read_text().replace(DATA, str(data))
    made = Left(data, sql, json.loads((data / EXPECTED).read_text()))
    with embedded_postgres(data) as url:
        load(data, url, made.sql)
    return made


@contextmanager
def opened(data: Path, expected: dict[str, Any], **variables: str) -> Iterator[httpx2.Client]:
    """This version's service over a data folder, when it has done the jobs that it found there."""
    shown = {"Authorization": f"Bearer {expected['api_key']}"}
    with (
        running_server(data, LOOKALIKE_DEMO="off", **variables) as (url, _),
        httpx2.Client(base_url=url, headers=shown, timeout=60) as client,
    ):
        wait_for_jobs(client)
        yield client


def wait_for_jobs(client: httpx2.Client) -> None:
    deadline = time.monotonic() + 60
    while any(job["state"] == "running" for job in client.get("/jobs").json()["items"]):
        assert time.monotonic() < deadline, "a job that was left does not end"
        time.sleep(0.1)


def test_there_are_recordings() -> None:
    assert RECORDED


def test_everything_is_found_and_goes_on(left: Left) -> None:
    with opened(left.data, left.expected) as client:
        queued = left.expected.get("queued", {})
        there = require_everything(client, left.expected["pictures"], queued)
        assert client.get(f"/images/{left.expected['deleted']}").status_code == 404
        assert client.get("/stats").json()["seq"] >= left.expected["seq"]
        (new,) = client.post("/index", files={"images": ("new.png", drawing(200))}).json()["items"]
        assert (new["status"], new["id"] > max(item["id"] for item in there.values())) == ("created", True)
        best, *_ = client.post("/search", files={"image": drawing(200)}).json()["results"]
        assert best["id"] == new["id"]


def require_everything(
    client: httpx2.Client, pictures: dict[str, Any], queued: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Looks up and searches for every recorded picture, those of a queued job too; returns all items by key."""
    there = {item["key"]: item for item in client.get("/images").json()["items"]}
    assert there.keys() == pictures.keys() | queued.keys()
    for key, given in pictures.items():
        assert there[key]["label"] == given.get("label")
        assert all(there[key]["metadata"][name] == given[name] for name in ("price", "product") if name in given)
    drawings = {key: given["drawing"] for key, given in pictures.items()} | queued
    for key, number in drawings.items():
        assert client.get(there[key]["image_url"]).content == drawing(number)
        best, *_ = client.post("/search", files={"image": drawing(number)}).json()["results"]
        assert (best["key"], best["distance"]) == (key, pytest.approx(0, abs=NEXT_TO_NOTHING))
    return there


def test_the_catalogue_moves_to_another_network_and_back(left: Left) -> None:
    own = left.expected.get("checkpoint")
    networks = ("general", str(left.data / own)) if own else ("clothing", "general")
    with opened(left.data, left.expected) as client:
        for network in networks:
            lookalike(left.data, "reindex", network)
            require_everything(client, left.expected["pictures"], left.expected.get("queued", {}))


@pytest.mark.parametrize("left", WITH_BACKUP, indirect=True, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_a_backup_comes_back_in_a_new_folder(left: Left, tmp_path: Path) -> None:
    new = tmp_path / "new"
    lookalike(new, "restore", str(left.data / BACKUP))
    # The rows name the checkpoint by the path that it had when the backup was taken.
    with opened(new, left.expected, LOOKALIKE_MODEL=str(left.data / left.expected["checkpoint"])) as client:
        require_everything(client, left.expected["pictures"], {})


def test_rows_vectors_and_files_belong_together(left: Left) -> None:
    assert "No problems found." in lookalike(left.data, "check", "--sample", "0")


def test_the_tables_can_be_given_back(left: Left) -> None:
    with embedded_postgres(left.data) as url, closing(Database(url)) as database:
        with database.connection() as connection:
            earlier = revision(connection)
        assert earlier is not None
        upgrade(database)
        with database.connection() as connection:
            command.downgrade(config(connection), earlier)
        assert lines(dump(left.data, url)) == lines(left.sql)


def lines(sql: str) -> list[str]:
    """What was dumped, without the word that pg_dump thinks up each time."""
    return [line for line in sql.splitlines() if not re.match(r"\\(un)?restrict ", line)]
