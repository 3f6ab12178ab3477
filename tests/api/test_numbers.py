"""Numbers and null in metadata, over HTTP and in jobs."""

import io
import json
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.job_helpers import counts, send_archive, wait_until_ended
from tests.api.test_index import add_images, random_image
from tests.numbers import NUMBERS, dumps

PROPERTY = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def add_one(client: TestClient, key: str, **metadata: Any) -> dict[str, Any]:
    (item,) = add_images(client, random_image(1), metadata=[{"key": key, **metadata}])
    return item


def field(client: TestClient, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.get("/facets").json()["fields"]
    return next(one for one in found if one["name"] == name)


def keys(client: TestClient, condition: Any) -> set[str]:
    answer = client.get("/images", params={"filter": dumps(condition), "limit": 1000})
    assert answer.status_code == 200, answer.text
    return {image["key"] for image in answer.json()["items"]}


def groups(client: TestClient, image_id: int, name: str) -> int:
    answer = client.get(f"/images/{image_id}/similar", params={"group_by": name, "k": 1000})
    return len(answer.json()["results"])


@PROPERTY
@given(values=st.lists(NUMBERS, min_size=1, max_size=5))
def test_filtering_by_the_value_of_a_facet_finds_its_images(client: TestClient, values: list[float]) -> None:
    for image in client.get("/images").json()["items"]:
        client.delete(f"/images/{image['id']}")
    ids = [add_one(client, str(number), value=value)["id"] for number, value in enumerate(values)]
    found = field(client, "value")
    assert sum(one["count"] for one in found["values"]) == len(values)
    for one in found["values"]:
        assert len(keys(client, {"value": one["value"]})) == one["count"]
    assert {found["min"], found["max"]} <= {one["value"] for one in found["values"]}
    assert found["distinct"] == groups(client, ids[0], "value")
    for number, value in enumerate(values):
        assert str(number) in keys(client, {"value": value})


@PROPERTY
@given(value=NUMBERS | st.lists(NUMBERS, max_size=3) | st.dictionaries(st.sampled_from("ab"), NUMBERS))
def test_numbers_sent_again_are_unchanged(client: TestClient, value: Any) -> None:
    first = add_one(client, "one", value=value)
    assert add_one(client, "one", value=value)["status"] == "unchanged"
    stored = client.get(f"/images/{first['id']}").json()["metadata"]["value"]
    assert add_one(client, "one", value=stored)["status"] == "unchanged"
    before = client.get(f"/images/{first['id']}").json()["updated_at"]
    answer = client.patch(f"/images/{first['id']}", json={"metadata": {"value": value}})
    assert (answer.json()["metadata"]["value"], answer.json()["updated_at"]) == (stored, before)


@pytest.mark.parametrize(
    ("first", "again"),
    [(1, 1.0), (1e16, 10**16), (1e22, 10**22), (1e23, 10**23), (-0.0, 0), (2020.0, 2020), ([1.0], [1])],
)
def test_equal_numbers_are_one_value_in_any_form(client: TestClient, first: Any, again: Any) -> None:
    image = add_one(client, "one", value=first)
    assert add_one(client, "one", value=again)["status"] == "unchanged"
    other = add_one(client, "two", value=again)
    assert groups(client, image["id"], "value") == field(client, "value")["distinct"] == 1
    if not isinstance(first, list):
        assert keys(client, {"value": first}) == keys(client, {"value": again}) == {"one", "two"}
    client.patch(f"/images/{other['id']}", json={"metadata": {"value": True}})
    assert groups(client, image["id"], "value") == 2, "true is not 1"


def test_whole_numbers_stay_whole(client: TestClient) -> None:
    add_one(client, "year", value=2020)
    add_one(client, "even", value=9007199254740992)
    item = add_one(client, "odd", value=1)
    # Through PATCH, whose body another parser reads.
    client.patch(f"/images/{item['id']}", json={"metadata": {"value": 9007199254740993}})
    text = client.get("/facets").text
    for value in ("2020", "9007199254740992", "9007199254740993"):
        assert f'"value":{value},"count":1' in text
    assert '"min":2020,"max":9007199254740993' in text
    assert keys(client, {"value": 9007199254740993}) == {"odd"}
    assert '"value":9007199254740993' in client.get(f"/images/{item['id']}").text
    assert groups(client, item["id"], "value") == 3


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "9" * 309, "1e400"], ids=lambda number: number[:8])
def test_number_too_large_for_a_double_is_refused(client: TestClient, number: str) -> None:
    files = [("images", ("picture", random_image(1)))]
    answers = [
        client.post("/index", files=files, data={"metadata": f'[{{"value": {number}}}]'}),
        client.get("/images", params={"filter": f'{{"value": {number}}}'}),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert "a number is" in answer.json()["detail"]
        assert "sys." not in answer.text


def test_null_in_an_addition_says_nothing(client: TestClient) -> None:
    created = add_one(client, "one", label="boots", price=3, colour=None)
    stored = client.get(f"/images/{created['id']}").json()
    assert (stored["label"], stored["metadata"]) == ("boots", {"price": 3})
    assert [one["name"] for one in client.get("/facets").json()["fields"]] == ["price"]
    assert keys(client, {"colour": {"$exists": False}}) == {"one"}
    for metadata in ({"price": None}, {"label": None}, {"label": None, "price": None}, {"price": 3, "size": None}):
        assert add_one(client, "one", **metadata)["status"] == "unchanged"
    assert add_one(client, "one", price=None, size=4)["status"] == "updated"
    stored = client.get(f"/images/{created['id']}").json()
    assert (stored["label"], stored["metadata"]) == ("boots", {"size": 4})


def test_null_in_a_patch_removes_the_field(client: TestClient) -> None:
    created = add_one(client, "one", label="boots", price=3, size=4)
    url = f"/images/{created['id']}"
    patched = client.patch(url, json={"label": None, "metadata": {"price": None, "colour": None}}).json()
    assert (patched["label"], patched["metadata"]) == (None, {"size": 4})


def test_table_of_a_job_says_the_same_as_a_request(client: TestClient) -> None:
    """The same fields in `POST /index` and in JSON Lines are one state of an image."""
    fields = {"key": "one", "label": None, "a": None, "b": 1e16, "c": -0.0, "d": 9007199254740993, "e": [1.0]}
    (created,) = add_images(client, random_image(1), metadata=[fields])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.png", random_image(1))
        archive.writestr("metadata.jsonl", json.dumps({"file": "1.png", **fields}))
    ended = wait_until_ended(client, send_archive(client, buffer.getvalue()))
    assert counts(ended) == (1, 1, 0, 0, 1, 0)
    stored = client.get(f"/images/{created['id']}").text
    assert '"metadata":{"b":10000000000000000,"c":0,"d":9007199254740993,"e":[1]}' in stored
