"""Data folders of earlier versions: upgrade, contents, restore and downgrade."""

import json
import os
import re
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from alembic import command

from app.catalogue.database.migrations import alembic_config, revision, upgrade
from app.catalogue.database.sessions import Database
from app.catalogue.embedded.postgres import embedded_postgres
from tests.conftest import running_server
from tests.crash.ledger import numbered_image
from tests.upgrade.record import BACKUP, DATA, DATABASE, EXPECTED, dump, load, lookalike, pack, record

RECORDED = sorted(Path(__file__).parent.glob("*.tar.xz"))
# Each takes a minute: the oldest two and the latest; `make torture` sets TORTURE_RECORDINGS=all.
REINDEXED = RECORDED if os.environ.get("TORTURE_RECORDINGS") == "all" else [*RECORDED[:2], RECORDED[-1]]
# Recordings have a backup from 0.3.0 on.
WITH_BACKUP = [path for path in RECORDED if path.name != "0.2.0.tar.xz"]
# The longest setting, so that the recorded trash does not expire.
KEPT_DAYS = "3650"
# Results of networks differ slightly between processors.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Recorded:
    """A data folder of an earlier version, the dump of its database, and its expected contents."""

    data: Path
    sql: str
    expected: dict[str, Any]


@pytest.fixture(params=RECORDED, ids=lambda path: path.name.removesuffix(".tar.xz"))
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Recorded:
    return unpacked(request.param, tmp_path / "data")


def unpacked(path: Path, data: Path) -> Recorded:
    with tarfile.open(path) as archive:
        archive.extractall(data, filter="data")
    sql = (data / DATABASE).read_text().replace(DATA, str(data))
    made = Recorded(data, sql, json.loads((data / EXPECTED).read_text()))
    with embedded_postgres(data) as url:
        load(data, url, made.sql)
    return made


@contextmanager
def opened(data: Path, expected: dict[str, Any], **variables: str) -> Iterator[httpx2.Client]:
    """Run this version's service on a data folder, and wait until it has finished the jobs."""
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
        assert time.monotonic() < deadline, "a recorded job does not end"
        time.sleep(0.1)


def test_recordings_exist() -> None:
    assert RECORDED


def test_recorded_catalogue_is_found_and_accepts_images(recorded: Recorded) -> None:
    with opened(recorded.data, recorded.expected, LOOKALIKE_TRASH_DAYS=KEPT_DAYS) as client:
        queued = recorded.expected.get("queued", {})
        there = require_everything(client, recorded.expected["pictures"], queued)
        assert client.get(f"/images/{recorded.expected['deleted']}").status_code == 404
        assert client.get("/stats").json()["seq"] >= recorded.expected["seq"]
        require_trash_pairs_and_jobs(client, recorded.expected)
        (new,) = client.post("/index", files={"images": ("new.png", numbered_image(200))}).json()["items"]
        assert (new["status"], new["id"] > max(item["id"] for item in there.values())) == ("created", True)
        best, *_ = client.post("/search", files={"image": numbered_image(200)}).json()["results"]
        assert best["id"] == new["id"]


def require_everything(
    client: httpx2.Client, pictures: dict[str, Any], queued: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Look up and search for every recorded image, also those of a queued job; return all items by key."""
    there = {item["key"]: item for item in client.get("/images").json()["items"]}
    assert there.keys() == pictures.keys() | queued.keys()
    for key, given in pictures.items():
        assert there[key]["label"] == given.get("label")
        assert all(there[key]["metadata"][name] == given[name] for name in ("price", "product") if name in given)
    drawings = {key: given["drawing"] for key, given in pictures.items()} | queued
    for key, number in drawings.items():
        assert client.get(there[key]["image_url"]).content == numbered_image(number)
        best, *_ = client.post("/search", files={"image": numbered_image(number)}).json()["results"]
        assert (best["key"], best["distance"]) == (key, pytest.approx(0, abs=TOLERANCE))
    return there


def require_trash_pairs_and_jobs(client: httpx2.Client, expected: dict[str, Any]) -> None:
    """Look up a finished job, undo a decision and restore an image, if the recording has them."""
    if job := expected.get("job"):
        assert client.get(f"/jobs/{job['id']}").json().items() >= job.items()
    if pair := expected.get("distinct"):
        assert client.request("DELETE", "/duplicates/distinct", json={"ids": pair}).json() == {"pairs": 1}
    if trashed := expected.get("trashed"):
        assert trashed["id"] in [item["id"] for item in client.get("/trash").json()["items"]]
        client.post("/trash/restore", json={"ids": [trashed["id"]]}).raise_for_status()
        restored = client.get(f"/images/{trashed['id']}").json()
        assert (restored["key"], restored["label"]) == (trashed["key"], trashed["label"])
        assert restored["metadata"]["price"] == trashed["price"]
        assert client.get(restored["image_url"]).content == numbered_image(trashed["drawing"])
        best, *_ = client.post("/search", files={"image": numbered_image(trashed["drawing"])}).json()["results"]
        assert (best["id"], best["distance"]) == (trashed["id"], pytest.approx(0, abs=TOLERANCE))


def test_this_version_can_be_recorded(tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "made.tar.xz"
    pack(made, record(made), path)
    recorded = unpacked(path, tmp_path / "data")
    assert recorded.expected.keys() >= {"trashed", "distinct", "job"}
    with opened(recorded.data, recorded.expected, LOOKALIKE_TRASH_DAYS=KEPT_DAYS) as client:
        require_everything(client, recorded.expected["pictures"], recorded.expected["queued"])
        require_trash_pairs_and_jobs(client, recorded.expected)


@pytest.mark.parametrize("recorded", REINDEXED, indirect=True, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_recorded_catalogue_is_reindexed_and_back(recorded: Recorded) -> None:
    """To each network that ships now and back to its own, while searches go on."""
    own = recorded.expected.get("checkpoint")
    networks = ("general-small", "general-large", str(recorded.data / own) if own else "general")
    pictures, queued = recorded.expected["pictures"], recorded.expected.get("queued", {})
    with opened(recorded.data, recorded.expected) as client:
        require_everything(client, pictures, queued)
        with searching(client, next(iter(pictures.values()))["drawing"]) as answers:
            for network in networks:
                lookalike(recorded.data, "reindex", network)
                require_everything(client, pictures, queued)
        assert len(answers) > len(networks)
        assert set(answers) == {200}


@contextmanager
def searching(client: httpx2.Client, drawing: int) -> Iterator[list[int]]:
    """Search all the time in another thread; yield the list of status codes."""
    answers, stop = list[int](), threading.Event()

    def search() -> None:
        while not stop.is_set():
            answers.append(client.post("/search", files={"image": numbered_image(drawing)}).status_code)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("recorded", WITH_BACKUP, indirect=True, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_recorded_backup_is_restored(recorded: Recorded, tmp_path: Path) -> None:
    new = tmp_path / "new"
    lookalike(new, "restore", str(recorded.data / BACKUP))
    # The rows have the checkpoint's path at the time of the backup.
    with opened(new, recorded.expected, LOOKALIKE_MODEL=str(recorded.data / recorded.expected["checkpoint"])) as client:
        require_everything(client, recorded.expected["pictures"], {})


def test_recorded_catalogue_is_consistent(recorded: Recorded) -> None:
    assert "No problems found." in lookalike(recorded.data, "check", "--sample", "0")


def test_downgrade_restores_the_recorded_tables(recorded: Recorded) -> None:
    with embedded_postgres(recorded.data) as url, closing(Database(url)) as database:
        with database.connection_transaction() as connection:
            earlier = revision(connection)
        assert earlier is not None
        upgrade(database)
        with database.connection_transaction() as connection:
            command.downgrade(alembic_config(connection), earlier)
        assert lines(dump(recorded.data, url)) == lines(recorded.sql)


def lines(sql: str) -> list[str]:
    """The lines of a dump, without pg_dump's random restrict key."""
    return [line for line in sql.splitlines() if not re.match(r"\\(un)?restrict ", line)]
