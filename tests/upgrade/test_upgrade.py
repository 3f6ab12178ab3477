"""Data folders that earlier versions left: this version opens them, finds everything, and can give them back."""

import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from alembic import command

from app.catalogue.database import Database
from app.catalogue.embedded import embedded_postgres
from app.catalogue.schema import config, revision, upgrade
from tests.conftest import running_server
from tests.crash.ledger import drawing
from tests.upgrade.record import DATABASE, EXPECTED, dump, load, lookalike

RECORDED = sorted(Path(__file__).parent.glob("*.tar.xz"))
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
    made = Left(data, (data / DATABASE).read_text(), json.loads((data / EXPECTED).read_text()))
    with embedded_postgres(data) as url:
        load(data, url, made.sql)
    return made


@pytest.fixture
def client(left: Left) -> Iterator[httpx2.Client]:
    """Of this version's service over the folder."""
    shown = {"Authorization": f"Bearer {left.expected['api_key']}"}
    with (
        running_server(left.data, LOOKALIKE_DEMO="off") as (url, _),
        httpx2.Client(base_url=url, headers=shown, timeout=60) as made,
    ):
        yield made


def test_there_are_recordings() -> None:
    assert RECORDED


def test_everything_is_found_and_goes_on(left: Left, client: httpx2.Client) -> None:
    pictures = left.expected["pictures"]
    there = {item["key"]: item for item in client.get("/images").json()["items"]}
    assert there.keys() == pictures.keys()
    for key, given in pictures.items():
        assert there[key]["label"] == given.get("label")
        assert all(there[key]["metadata"][name] == given[name] for name in ("price", "product") if name in given)
        assert client.get(there[key]["image_url"]).content == drawing(given["drawing"])
        best, *_ = client.post("/search", files={"image": drawing(given["drawing"])}).json()["results"]
        assert (best["key"], best["distance"]) == (key, pytest.approx(0, abs=NEXT_TO_NOTHING))
    assert client.get(f"/images/{left.expected['deleted']}").status_code == 404
    assert client.get("/stats").json()["seq"] == left.expected["seq"]
    (new,) = client.post("/index", files={"images": ("new.png", drawing(200))}).json()["items"]
    assert (new["status"], new["id"] > max(item["id"] for item in there.values())) == ("created", True)
    best, *_ = client.post("/search", files={"image": drawing(200)}).json()["results"]
    assert best["id"] == new["id"]


def test_rows_vectors_and_files_belong_together(left: Left) -> None:
    assert "All is well." in lookalike(left.data, "check", "--sample", "0")


def test_the_tables_can_be_given_back(left: Left) -> None:
    with embedded_postgres(left.data) as url, closing(Database(url)) as database:
        with database.connection() as connection:
            earlier = revision(connection)
        assert earlier is not None
        upgrade(database)
        with database.connection() as connection:
            assert revision(connection) != earlier
            command.downgrade(config(connection), earlier)
        assert lines(dump(left.data, url)) == lines(left.sql)


def lines(sql: str) -> list[str]:
    """What was dumped, without the word that pg_dump thinks up each time."""
    return [line for line in sql.splitlines() if not re.match(r"\\(un)?restrict ", line)]
