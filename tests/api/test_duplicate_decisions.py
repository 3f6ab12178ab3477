"""Decisions about duplicates: not the same, and merging."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import DistinctPair
from app.main import create_app
from app.settings import Settings
from tests.api.test_duplicates import add, answered, client, groups, other_article, picture, scaled
from tests.api.test_index import add_images
from tests.conftest import open_with_fake
from tests.images import encoded

__all__ = ["client"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with a trash."""
    return settings.model_copy(update={"trash_days": 1})


def copies(client: TestClient, count: int, metadata: list[dict[str, Any]] | None = None) -> list[int]:
    """Add copies of one picture, each smaller than the one before."""
    pictures = [encoded(scaled(picture(0), 1 - at / 10), "PNG") for at in range(count)]
    described = [{"key": f"copy-{at}", **(metadata or [{}] * count)[at]} for at in range(count)]
    return [int(item["id"]) for item in add_images(client, *pictures, metadata=described)]


def decide(client: TestClient, method: str, *ids: int, status: int = 200) -> Any:
    answer = client.request(method, "/duplicates/distinct", json={"ids": ids})
    assert answer.status_code == status, answer.text
    return answer.json()


def merged(client: TestClient, keep: int, *others: int, status: int = 200) -> Any:
    answer = client.post("/duplicates/merge", json={"keep": keep, "merge": others})
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", ["exact", "near"])
def test_distinct_images_are_no_duplicates_until_that_is_undone(client: TestClient, kind: str) -> None:
    other = scaled(picture(0), 0.5) if kind == "exact" else other_article(picture(0))
    one, two = add(client, encoded(picture(0), "PNG"), encoded(other, "PNG"))
    assert groups(client, kind=kind) == [[one, two]]
    assert decide(client, "POST", two, one) == {"pairs": 1}
    for listed in ("exact", "near"):
        assert groups(client, kind=listed) == []
        for image_id in (one, two):
            assert answered(client, f"/images/{image_id}/duplicates", kind=listed) == []
    assert decide(client, "POST", one, two) == {"pairs": 0}
    assert decide(client, "DELETE", one, two) == {"pairs": 1}
    assert decide(client, "DELETE", one, two) == {"pairs": 0}
    assert groups(client, kind=kind) == [[one, two]]


def test_every_pair_of_the_images_is_distinct_and_others_stay_in_the_group(client: TestClient) -> None:
    ids = copies(client, 4)
    assert groups(client) == [ids]
    assert decide(client, "POST", *ids[:3], *ids[:3]) == {"pairs": 3}
    # Each is still a duplicate of the fourth.
    assert [one["id"] for one in answered(client, f"/images/{ids[0]}/duplicates")] == [ids[3]]
    assert groups(client) == [ids]
    assert decide(client, "POST", *ids) == {"pairs": 3}
    assert groups(client) == []
    assert decide(client, "DELETE", *ids[2:]) == {"pairs": 1}
    assert groups(client) == [ids[2:]]


def test_decision_survives_a_deletion_that_is_undone_and_ends_with_the_image(
    client: TestClient, database: Database
) -> None:
    one, two = copies(client, 2)
    decide(client, "POST", one, two)
    client.delete(f"/images/{one}").raise_for_status()
    client.post("/trash/restore", json={"ids": [one]}).raise_for_status()
    assert groups(client) == []
    client.delete(f"/images/{one}").raise_for_status()
    client.delete("/trash").raise_for_status()
    with database.read_session() as session:
        assert session.query(DistinctPair).count() == 0


def test_images_that_are_gone_return_409_and_change_nothing(client: TestClient, database: Database) -> None:
    one, two, gone = copies(client, 3, [{}, {"label": "boots"}, {}])
    client.delete(f"/images/{gone}").raise_for_status()
    for problem in (
        decide(client, "POST", one, two, gone, status=409),
        merged(client, one, two, gone, status=409),
        merged(client, gone, one, two, status=409),
    ):
        assert f"{gone} is no longer in the catalogue" in problem["detail"]
    assert groups(client) == [[one, two]]
    assert client.get(f"/images/{one}").json()["label"] is None
    with database.read_session() as session:
        assert session.query(DistinctPair).count() == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("distinct", {"ids": [1]}),
        ("distinct", {"ids": list(range(1, 202))}),
        ("distinct", {"ids": [1, 0]}),
        ("distinct", {"ids": [1, 2**63]}),
        ("distinct", {"images": [1, 2]}),
        ("merge", {"keep": 1, "merge": []}),
        ("merge", {"keep": 1, "merge": [2, 1]}),
        ("merge", {"merge": [2, 1]}),
    ],
)
def test_invalid_bodies_return_422(client: TestClient, path: str, body: dict[str, Any]) -> None:
    assert client.post(f"/duplicates/{path}", json=body).status_code == 422


def test_merge_adds_what_the_kept_image_lacks_and_deletes_the_others(client: TestClient) -> None:
    ids = copies(
        client,
        4,
        [
            {"label": "boots", "price": 1},
            {"colour": "red", "price": 2},
            {"label": "shoes", "colour": "blue", "size": 40},
            {"tags": ["a"]},
        ],
    )
    kept = ids[1]
    result = merged(client, kept, ids[2], ids[0], ids[3], ids[0])
    assert result["added"] == {"label": "shoes", "metadata": {"size": 40, "tags": ["a"]}}
    assert result["image"] == client.get(f"/images/{kept}").json()
    assert result["image"]["metadata"] == {"colour": "red", "price": 2, "size": 40, "tags": ["a"]}
    assert result["deleted"] == 3
    assert [image["id"] for image in client.get("/images").json()["items"]] == [kept]
    assert groups(client) == []
    found = client.post("/search", params={"filter": '{"size": 40}'}, files={"image": encoded(picture(0))}).json()
    assert [match["id"] for match in found["results"]] == [kept]
    client.post("/trash/restore", json={"deletion_id": result["deletion_id"]}).raise_for_status()
    assert groups(client) == [ids]
    assert client.get(f"/images/{ids[0]}").json()["metadata"] == {"price": 1}


def test_merge_of_images_without_further_fields_changes_the_kept_one_not_at_all(client: TestClient) -> None:
    one, two = copies(client, 2, [{"label": "", "price": 0}, {"label": "boots", "price": 5}])
    before = client.get(f"/images/{one}").json()
    result = merged(client, one, two)
    assert result["added"] == {"label": None, "metadata": {}}
    assert client.get(f"/images/{one}").json() == before


def test_kept_image_takes_over_decisions_about_the_others(client: TestClient) -> None:
    one, two, three = copies(client, 3)
    decide(client, "POST", two, three)
    merged(client, one, two)
    assert groups(client) == []


def test_without_a_trash_merged_images_are_deleted_for_good(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"trash_days": 0}), open_with_fake)) as client:
        one, two = copies(client, 2)
        assert merged(client, one, two)["deletion_id"] is None
        assert client.get("/trash").json()["items"] == []
