"""Export of the catalogue over HTTP, and reading it back."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.catalogue.database.sessions import Database
from app.catalogue.selection import Selection
from app.ingest.sources.table_source import TableSource
from app.maintenance.export import ExportFormat, export
from app.settings import Settings
from tests.api.server import serve
from tests.api.test_images import filled
from tests.api.test_index import add_images, random_image
from tests.catalogue.slow_statements import wait_until

ABOUT: list[dict[str, Any]] = [
    {"key": "plain.png", "label": "boots", "price": 3, "name": 'a, "quoted"\nline; and é 👟', "new": True},
    {"key": "é/half.png", "price": 2.5, "name": "=SUM(A1)", "sizes": [41, 42.5], "new": False},
    {"key": "bare.png"},
    {"key": "deep.png", "label": "=1", "metadata": {"maker": {"name": "x", "since": None}, "code": "007"}},
]


def fill(client: TestClient) -> list[int]:
    images = [random_image(number) for number in range(len(ABOUT))]
    return [item["id"] for item in add_images(client, *images, metadata=ABOUT)]


def exported(client: TestClient, **parameters: Any) -> str:
    answer = client.get("/images/export", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.content.decode()


def expected(number: int) -> dict[str, Any]:
    """Return label and metadata of an image as they are stored."""
    about = dict(ABOUT[number])
    label, metadata = about.pop("label", None), about.pop("metadata", {})
    del about["key"]
    fields = {**about, **metadata}
    return ({} if label is None else {"label": label}) | ({"metadata": fields} if fields else {})


def test_json_lines_have_every_value(client: TestClient) -> None:
    fill(client)
    lines = [json.loads(line) for line in exported(client).splitlines()]
    assert lines == [{"key": about["key"]} | expected(number) for number, about in enumerate(ABOUT)]


def test_csv_has_key_label_and_all_fields_for_spreadsheets(client: TestClient) -> None:
    fill(client)
    answer = client.get("/images/export", params={"format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="images.csv"'
    assert answer.content.startswith(b"\xef\xbb\xbf")
    header, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    assert header == ["key", "label", "code", "maker", "name", "new", "price", "sizes"]
    assert rows[0] == ["plain.png", "boots", "", "", ABOUT[0]["name"], "true", "3", ""]
    assert rows[1] == ["é/half.png", "", "", "", "=SUM(A1)", "false", "2.5", "[41, 42.5]"]
    assert rows[2] == ["bare.png", *[""] * 7]
    assert rows[3] == ["deep.png", "=1", "007", '{"name": "x", "since": null}', "", "", "", ""]


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_export_is_read_back(client: TestClient, tmp_path: Path, format_: str) -> None:
    fill(client)
    table = tmp_path / f"images.{format_}"
    table.write_bytes(client.get("/images/export", params={"format": format_}).content)
    (tmp_path / "é").mkdir()
    for number, about in enumerate(ABOUT):
        (tmp_path / about["key"]).write_bytes(random_image(number))
    entries = {entry.key: entry for entry in TableSource(table, 1_000_000)}
    assert list(entries) == [about["key"] for about in ABOUT]
    for number, about in enumerate(ABOUT):
        entry, given = entries[about["key"]], expected(number)
        if format_ == "csv" and "metadata" in given:
            # Types of columns: lists and objects are text in a spreadsheet, and 007 is no number.
            given["metadata"] = {
                name: value if isinstance(value, (str, int, float)) else json.dumps(value)
                for name, value in given["metadata"].items()
            }
        assert entry.given == given
        assert entry.read() == random_image(number)


def test_selections_are_those_of_lists(client: TestClient) -> None:
    ids = filled(client, 6)

    def keys(**parameters: Any) -> list[str]:
        return [json.loads(line)["key"] for line in exported(client, **parameters).splitlines()]

    assert keys(label="odd") == ["key 1", "key 3", "key 5"]
    assert keys(filter='{"key": {"$gt": "key 3"}}', label="odd") == ["key 5"]
    assert keys(ids=f"{ids[4]},{ids[0]},999") == ["key 0", "key 4"]
    assert keys(ids=f"{ids[4]},{ids[1]}", label="even") == ["key 4"]
    assert keys(text="key -3", label="odd") == ["key 1", "key 5"]
    assert keys(label="no") == []
    assert exported(client, label="no", format="csv") == "\ufeffkey,label\r\n"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"format": "xlsx"}, "format"),
        ({"ids": ""}, "ids"),
        ({"ids": "1,"}, "ids"),
        ({"ids": "1,x"}, "ids"),
        ({"ids": "9" * 19}, "ids"),
        ({"ids": "9" * 6000}, "ids"),
        ({"filter": "{"}, "filter"),
        ({"text": "-"}, "text"),
        ({"limit": "3"}, "limit"),
    ],
)
def test_bad_parameters_are_rejected(client: TestClient, parameters: dict[str, str], field: str) -> None:
    answer = client.get("/images/export", params=parameters)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("name", ["Key", " label", "file", "", " ", "price "])
def test_fields_that_cannot_be_columns_are_named(client: TestClient, name: str) -> None:
    add_images(client, random_image(1), metadata=[{"key": "one", "price": 1}])
    (item,) = client.get("/images").json()["items"]
    client.patch(f"/images/{item['id']}", json={"metadata": {name: 2}}).raise_for_status()
    answer = client.get("/images/export", params={"format": "csv"})
    assert answer.status_code == 422
    assert f"named {name!r}" in answer.json()["detail"] or "named 'price'" in answer.json()["detail"]
    assert "Use JSON Lines (format=jsonl)" in answer.json()["detail"]
    assert json.loads(exported(client))["metadata"] == {"price": 1, name: 2}


def test_too_many_fields_for_a_table_are_told(client: TestClient) -> None:
    add_images(client, random_image(1), metadata=[{"key": "one", "metadata": {f"f{at}": at for at in range(999)}}])
    answer = client.get("/images/export", params={"format": "csv"})
    assert (answer.status_code, "at most 1,000 columns" in answer.json()["detail"]) == (422, True)


def test_export_is_of_one_moment(client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.maintenance.export._CHARACTERS", 1)
    ids = filled(client, 40)
    for format_ in ExportFormat:
        parts = export(database, Selection(), format_)
        begun = next(parts)
        client.delete(f"/images/{ids.pop()}")
        client.patch(f"/images/{ids[20]}", json={"label": f"{format_} changed", "metadata": {format_: 1}})
        (new,) = add_images(client, random_image(99), metadata=[{"key": f"new {format_}"}])
        rest = "".join(parts)
        assert f"{format_} changed" not in begun + rest
        assert f"new {format_}" not in begun + rest
        lines = (begun + rest).splitlines()
        assert len(lines) == 40 + (format_ is ExportFormat.CSV)
        client.delete(f"/images/{new['id']}")
        (again,) = add_images(client, random_image(39), metadata=[{"key": "key 39"}])
        ids.append(again["id"])


def open_snapshots(database: Database) -> int:
    with database.read_session() as session:
        count: int = session.scalars(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' "
                "AND datname = current_database()"
            )
        ).one()
        return count


def test_disconnect_ends_the_snapshot(settings: Settings, database: Database) -> None:
    with serve(settings) as server:
        with database.transaction() as session:
            session.execute(
                text(
                    "INSERT INTO images (key, sha256, media_type, width, height, size_bytes, metadata) SELECT "
                    "'key ' || n, repeat('a', 64), 'image/png', 1, 1, 1, jsonb_build_object('text', repeat('x', 9000)) "
                    "FROM generate_series(1, 3000) n"
                )
            )
        with httpx2.Client(base_url=server.url) as client, client.stream("GET", "/images/export") as answer:
            assert len(next(answer.iter_bytes())) > 0
            # While it fetches the next rows, its state is another one.
            wait_until(lambda: open_snapshots(database) == 1)
        wait_until(lambda: not open_snapshots(database))
