"""The trash over HTTP: delete, list, restore, expire."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import TrashedImage
from app.settings import Settings
from tests.api.test_bulk import delete, records
from tests.api.test_images import filled
from tests.api.test_index import add_images, random_image


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that keep deleted images for a day."""
    return settings.model_copy(update={"trash_days": 1.0})


def found_by(client: TestClient, image: bytes) -> list[tuple[int, float]]:
    """Return ids and distances of the nearest images."""
    matches = client.post("/search", params={"k": 3}, files={"image": image}).json()["results"]
    return [(match["id"], match["distance"]) for match in matches]


def expire(database: Database) -> None:
    """Let the trash be as old as two days."""
    with database.transaction() as session:
        session.execute(text("UPDATE trash SET deleted_at = deleted_at - interval '2 days'"))


def test_deleted_images_are_nowhere_but_in_the_trash(client: TestClient) -> None:
    ids = filled(client, 4)
    deletion = delete(client, ids[1], ids[2])
    assert set(records(client)) == {"key 0", "key 3"}
    assert client.get("/stats").json()["images"] == 2
    labels = client.get("/facets").json()["labels"]
    assert {(one["value"], one["count"]) for one in labels} == {("even", 1), ("odd", 1)}
    assert {image_id for image_id, _ in found_by(client, random_image(1))} == {ids[0], ids[3]}
    for path in ("", "/original", "/thumbnail", "/similar", "/seen", "/duplicates?max_distance=1"):
        assert client.get(f"/images/{ids[1]}{path}").status_code == 404, path
    page = client.get("/trash").json()
    thumbnail = client.get(page["items"][0]["thumbnail_url"])
    assert (thumbnail.status_code, thumbnail.headers["content-type"]) == (200, "image/jpeg")
    assert client.get("/trash/999/thumbnail").status_code == 404
    assert [(item["id"], item["key"], item["label"], item["deletion_id"]) for item in page["items"]] == [
        (ids[1], "key 1", "odd", deletion),
        (ids[2], "key 2", "even", deletion),
    ]
    assert page["next_cursor"] is None


def test_restored_images_are_exactly_as_they_were(client: TestClient) -> None:
    ids = filled(client, 5)
    client.patch(f"/images/{ids[1]}", json={"metadata": {"price": 1.5, "tags": ["a", {"b": None}]}})
    before, search = records(client), found_by(client, random_image(1))
    original = client.get(f"/images/{ids[1]}/original").content
    deletion = delete(client, ids[1], ids[3])
    assert found_by(client, random_image(1)) != search
    answer = client.post("/trash/restore", json={"deletion_id": deletion})
    assert (answer.status_code, answer.json()) == (200, {"restored": 2, "skipped": 0})
    assert records(client) == before
    assert found_by(client, random_image(1)) == search
    assert client.get(f"/images/{ids[1]}/original").content == original
    assert client.get(f"/images/{ids[1]}/thumbnail").status_code == 200
    assert client.get("/trash").json()["items"] == []


def test_single_deletion_is_restored_by_id_and_may_be_deleted_again(client: TestClient) -> None:
    ids = filled(client, 3)
    for _ in range(2):
        assert client.delete(f"/images/{ids[2]}").status_code == 204
        assert client.delete(f"/images/{ids[2]}").status_code == 404
        assert client.post("/trash/restore", json={"ids": [ids[2]]}).json() == {"restored": 1, "skipped": 0}
        assert found_by(client, random_image(2))[0] == (ids[2], 0.0)
    assert list(records(client)) == ["key 0", "key 1", "key 2"]


def test_key_in_use_again_restores_none_or_the_others(client: TestClient) -> None:
    ids = filled(client, 3)
    deletion = delete(client, *ids)
    (new,) = add_images(client, random_image(9), metadata=[{"key": "key 1"}])
    answer = client.post("/trash/restore", json={"deletion_id": deletion})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_in_use")
    assert "The key is in use again: key 1. Nothing was restored." in answer.json()["detail"]
    assert answer.json()["errors"] == [{"field": str(ids[1]), "reason": "key 1 is in use"}]
    assert [one["id"] for one in records(client).values()] == [new["id"]]
    answer = client.post("/trash/restore", json={"deletion_id": deletion, "skip_used_keys": True})
    assert answer.json() == {"restored": 2, "skipped": 1}
    assert {key: one["id"] for key, one in records(client).items()} == {
        "key 0": ids[0],
        "key 1": new["id"],
        "key 2": ids[2],
    }
    assert [item["id"] for item in client.get("/trash").json()["items"]] == [ids[1]]


def test_of_two_deleted_images_with_one_key_the_later_is_restored(client: TestClient) -> None:
    (first,) = add_images(client, random_image(1), metadata=[{"key": "one"}])
    delete(client, first["id"])
    (second,) = add_images(client, random_image(2), metadata=[{"key": "one"}])
    delete(client, second["id"])
    both = {"ids": [first["id"], second["id"]]}
    assert client.post("/trash/restore", json=both).status_code == 409
    assert client.post("/trash/restore", json={**both, "skip_used_keys": True}).json()["restored"] == 1
    assert records(client)["one"]["id"] == second["id"]


def test_restore_of_expired_images_returns_404(client: TestClient, database: Database) -> None:
    ids = filled(client, 2)
    deletion = delete(client, ids[0])
    expire(database)
    for body in ({"deletion_id": deletion}, {"ids": [ids[0]]}):
        answer = client.post("/trash/restore", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "in the trash. Deleted images are kept for 1 day (LOOKALIKE_TRASH_DAYS)" in answer.json()["detail"]
    assert client.get("/trash").json()["items"] == []


@pytest.mark.parametrize("body", [{}, {"ids": [1], "deletion_id": 1}, {"ids": ["x"]}, {"deletion_id": 0}])
def test_bad_restores_are_rejected(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/trash/restore", json=body).status_code == 422
    assert client.post("/trash/restore", json={"ids": []}).status_code == 404


def test_emptied_trash_has_no_files(client: TestClient, settings: Settings) -> None:
    ids = filled(client, 3)
    pictures = settings.data_dir / "pictures"

    def files() -> int:
        return sum(path.is_file() for path in pictures.rglob("*"))

    stored = files()
    deletion = delete(client, *ids[:2])
    assert files() == stored
    assert client.delete("/trash").json() == {"purged": 2}
    assert files() == stored // 3
    assert client.post("/trash/restore", json={"deletion_id": deletion}).status_code == 404
    assert client.delete("/trash").json() == {"purged": 0}
    assert list(records(client)) == ["key 2"]


def test_original_stays_while_another_image_uses_it(client: TestClient) -> None:
    one, two = add_images(client, random_image(1), random_image(1), metadata=[{"key": "one"}, {"key": "two"}])
    delete(client, one["id"])
    client.delete("/trash")
    assert client.get(f"/images/{two['id']}/original").content == random_image(1)
    deletion = delete(client, two["id"])
    (again,) = add_images(client, random_image(1), metadata=[{"key": "three"}])
    client.delete(f"/images/{again['id']}")
    client.post("/trash/restore", json={"deletion_id": deletion})
    assert client.get(f"/images/{two['id']}/original").content == random_image(1)


def test_trash_pages_are_newest_first(client: TestClient) -> None:
    ids = filled(client, 5)
    first, second = delete(client, ids[3], ids[0], ids[4]), delete(client, ids[1], ids[2])
    seen, cursor = [], None
    while True:
        page = client.get("/trash", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen.append([item["id"] for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [[ids[1], ids[2]], [ids[0], ids[3]], [ids[4]]]
    assert [item["id"] for item in client.get("/trash", params={"deletion_id": first}).json()["items"]] == [
        ids[0],
        ids[3],
        ids[4],
    ]
    assert second > first
    for bad in ("x", "1", "1-", f"1-{2**63}", "-1-1", "9" * 64):
        assert client.get("/trash", params={"cursor": bad}).status_code == 422


def test_without_a_trash_images_are_gone_at_once(settings: Settings, database: Database) -> None:
    from app.main import create_app
    from tests.conftest import open_with_fake

    with TestClient(create_app(settings.model_copy(update={"trash_days": 0.0}), open_with_fake)) as client:
        ids = filled(client, 2)
        answer = client.post("/images/delete", json={"ids": ids, "expected": 2})
        assert answer.json() == {"deleted": 2, "deletion_id": None}
        assert client.get("/trash").json()["items"] == []
    with database.read_session() as session:
        assert session.query(TrashedImage).count() == 0
    assert not [path for path in Path(settings.data_dir / "pictures").rglob("*") if path.is_file()]
