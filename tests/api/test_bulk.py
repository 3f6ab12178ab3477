"""Many images at once over HTTP: update, delete, and restore from the trash."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.test_images import filled
from tests.api.test_index import add_images, random_image


def records(client: TestClient) -> dict[str, dict[str, Any]]:
    """Return the catalogue's records by key."""
    return {item["key"]: item for item in client.get("/images", params={"limit": 1000}).json()["items"]}


def delete(client: TestClient, *ids: int) -> int:
    """Delete images; return the deletion's id."""
    answer = client.post("/images/delete", json={"ids": list(ids), "expected": len(ids)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["deleted"] == len(ids)
    number: int = answer.json()["deletion_id"]
    return number


def test_update_sets_label_and_merges_metadata(client: TestClient) -> None:
    about = [{"key": "one", "label": "boots", "price": 1, "season": "2019"}, {"key": "two", "price": 2.5}]
    ids = [item["id"] for item in add_images(client, random_image(1), random_image(2), metadata=about)]
    body = {"ids": ids, "expected": 2, "set_label": "shoes", "metadata": {"season": None, "size": 4.0, "deep": [1.0]}}
    answer = client.post("/images/update", json=body)
    assert (answer.status_code, answer.json()) == (200, {"changed": 2})
    seen = records(client)
    assert {key: (one["label"], one["metadata"]) for key, one in seen.items()} == {
        "one": ("shoes", {"price": 1, "size": 4, "deep": [1]}),
        "two": ("shoes", {"price": 2.5, "size": 4, "deep": [1]}),
    }
    assert all(one["updated_at"] > one["created_at"] for one in seen.values())
    assert client.post("/images/update", json=body).json() == {"changed": 0}
    assert records(client) == seen


def test_update_removes_a_label_by_filter_and_label(client: TestClient) -> None:
    filled(client, 6)
    body = {"label": "even", "filter": {"key": {"$ne": "key 2"}}, "expected": 2, "set_label": None}
    assert client.post("/images/update", json=body).json() == {"changed": 2}
    assert [one["label"] for one in records(client).values()] == [None, "odd", "even", "odd", None, "odd"]


def test_searches_follow_an_update(client: TestClient) -> None:
    ids = filled(client, 4)
    assert (
        len(
            found := client.post("/search", params={"label": "new"}, files={"image": random_image(1)}).json()["results"]
        )
        == 0
    )
    client.post("/images/update", json={"keys": ["key 1", "key 3"], "expected": 2, "set_label": "new"})
    found = client.post("/search", params={"label": "new"}, files={"image": random_image(1)}).json()["results"]
    assert {match["id"] for match in found} == {ids[1], ids[3]}


@pytest.mark.parametrize("call", ["update", "delete"])
def test_missing_ids_and_keys_are_named_and_nothing_changes(client: TestClient, call: str) -> None:
    ids = filled(client, 3)
    client.delete(f"/images/{ids[1]}")
    before, more = records(client), {"set_label": "x"} if call == "update" else {}
    answer = client.post(f"/images/{call}", json={"ids": ids, "expected": 3, **more})
    assert (answer.status_code, answer.json()["code"]) == (409, "selection_changed")
    assert f": {ids[1]} is no longer in the catalogue. Nothing was changed." in answer.json()["detail"]
    answer = client.post(f"/images/{call}", json={"keys": ["key 0", "key 1", "no"], "expected": 3, **more})
    assert "key 1, no are no longer" in answer.json()["detail"]
    assert [error["reason"] for error in answer.json()["errors"]] == [
        "1 images are selected",
        "key 1 does not exist",
        "no does not exist",
    ]
    assert records(client) == before


@pytest.mark.parametrize("call", ["update", "delete"])
def test_another_number_than_expected_returns_409_and_changes_nothing(client: TestClient, call: str) -> None:
    filled(client, 5)
    before, more = records(client), {"set_label": "x"} if call == "update" else {}
    answer = client.post(f"/images/{call}", json={"filter": {"label": "even"}, "expected": 2, **more})
    assert (answer.status_code, answer.json()["code"]) == (409, "selection_changed")
    assert "the selection has 3 images, not the 2 expected. Nothing was changed." in answer.json()["detail"]
    assert records(client) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": [1], "set_label": "x"}, "expected"),
        ({"expected": 1, "set_label": "x"}, "body"),
        ({"ids": [1], "keys": ["a"], "expected": 1, "set_label": "x"}, "body"),
        ({"ids": [1], "filter": {}, "expected": 1, "set_label": "x"}, "body"),
        ({"ids": [1], "expected": 1}, "set_label"),
        ({"ids": [0], "expected": 1, "set_label": "x"}, "ids.0"),
        ({"ids": [2**63], "expected": 1, "set_label": "x"}, "ids.0"),
        ({"keys": ["a\0"], "expected": 1, "set_label": "x"}, "keys.0"),
        ({"ids": [1], "expected": 1, "set_label": "a\0"}, "set_label"),
        ({"ids": [1], "expected": 1, "metadata": {"a": "\0"}}, "metadata"),
        ({"filter": {"price": {"$nearly": 1}}, "expected": 1, "set_label": "x"}, "filter"),
        ({"filter": {"a": "b" * 9000}, "expected": 1, "set_label": "x"}, "filter"),
        ({"filter": "{}", "expected": 1, "set_label": "x"}, "filter"),
        ({"text": "-", "expected": 1, "set_label": "x"}, "text"),
        ({"ids": [1], "text": "a", "expected": 1, "set_label": "x"}, "body"),
        ({"ids": [1], "expected": -1, "set_label": "x"}, "expected"),
        ({"ids": [1], "expected": 1, "set_label": "x", "labels": "y"}, "labels"),
    ],
)
def test_bad_selections_are_rejected_with_the_field(client: TestClient, body: dict[str, Any], field: str) -> None:
    answer = client.post("/images/update", json=body)
    assert answer.status_code == 422, answer.text
    assert field in {error["field"] for error in answer.json()["errors"]}, answer.json()


def test_too_many_images_are_rejected(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(client, 4)
    monkeypatch.setattr("app.catalogue.selection.MAX_SELECTED", 3)
    answer = client.post("/images/delete", json={"filter": {}, "expected": 4})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "filter")
    assert len(records(client)) == 4


def test_words_select_what_they_find(client: TestClient) -> None:
    about = [{"key": "one", "note": "red boots"}, {"key": "two", "note": "a boot"}, {"key": "three", "note": "hat"}]
    add_images(client, random_image(1), random_image(2), random_image(3), metadata=about)
    lines = client.get("/images/export", params={"text": "boot"}).text.splitlines()
    assert len(lines) == 2
    assert client.post("/images/update", json={"text": "boot", "expected": 3, "set_label": "x"}).status_code == 409
    body = {"filter": {"note": "red boots"}, "text": "boot -a", "expected": 1, "set_label": "x"}
    assert client.post("/images/update", json=body).json() == {"changed": 1}
    assert {key: one["label"] for key, one in records(client).items()} == {"one": "x", "two": None, "three": None}
    answer = client.post("/images/delete", json={"text": "boot " * 200, "expected": 0})
    assert (answer.status_code, "at most 512" in answer.json()["detail"]) == (422, True)
    assert client.post("/images/delete", json={"text": "boot", "ids": [1], "expected": 0}).status_code == 422
