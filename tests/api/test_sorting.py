"""Orders of lists and of search results over HTTP, compared with an implementation in Python."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.api.test_index import add_images, random_image

VALUES = (
    3,
    10,
    2.5,
    -1,
    10**30,
    1e-300,
    "10",
    "Zebra",
    "apple",
    "Äpfel",
    "ÉTÉ",
    "",
    "🎈",
    True,
    False,
    [2, 1],
    ["a"],
    {"b": 1},
    "x" * 600,
)
SORTS = ("added", "-added", "key", "-key", "label", "-label", "price", "-price", "odd name", "-unknown", "mixed")


def filled(client: TestClient, count: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    about: list[dict[str, Any]] = []
    for number in range(count):
        metadata = {name: VALUES[rng.integers(len(VALUES))] for name in ("price", "odd name") if rng.random() < 0.8}
        label = ("boots", "Hats", "éclair", None)[rng.integers(4)]
        about.append(
            {"key": f"{'Kk'[number % 2]}/{rng.integers(10**6)}-{number}", "label": label, "metadata": metadata}
        )
    add_images(client, *(random_image(seed * 1000 + number) for number in range(count)), metadata=about)


def images(client: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/images", params={"limit": 1000}).json()["items"]
    return found


def reference(sort: str) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return the key of an image's kind and value; numbers of each kind are negated for descending order."""
    field, falls = sort.removeprefix("-"), sort.startswith("-")

    def key(image: dict[str, Any]) -> tuple[Any, ...]:
        if field == "added":
            return (-image["id"] if falls else image["id"],)
        if field == "mixed":
            return image["id"] * 2654435769 % 2**32, image["id"]
        value = image[field] if field in ("key", "label") else image["metadata"].get(field)
        if value is None:
            return 4, image["id"]
        if isinstance(value, bool | int | float):
            return 2 if isinstance(value, bool) else 0, -value if falls else value, image["id"]
        text = value if isinstance(value, str) else json.dumps(value)
        text = text if field == "key" else text.lower()[:512]
        points = [-ord(character) for character in text] + [1] if falls else [ord(character) for character in text]
        return 1 if isinstance(value, str) else 3, points, image["id"]

    return key


def without_ties(sort: str) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return the key without the id that orders images with equal values."""
    return reference(sort) if sort.endswith(("added", "mixed")) else lambda image: reference(sort)(image)[:-1]


def in_order(client: TestClient, sort: str) -> list[int]:
    return [image["id"] for image in sorted(images(client), key=reference(sort))]


def page(client: TestClient, **parameters: Any) -> dict[str, Any]:
    answer = client.get("/images", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_every_order_is_that_of_the_reference_on_pages_of_any_size(client: TestClient) -> None:
    filled(client, 80)
    for sort in SORTS:
        expected = in_order(client, sort)
        for limit in (7, 100):
            listed, cursor = list[int](), dict[str, str]()
            while True:
                found = page(client, sort=sort, limit=limit, **cursor)
                listed += [image["id"] for image in found["items"]]
                assert found["total"] == (None if cursor else 80)
                if found["next_cursor"] is None:
                    break
                cursor = {"cursor": found["next_cursor"]}
            assert listed == expected, sort


@pytest.mark.parametrize("sort", SORTS)
def test_pages_are_exact_while_images_are_added_and_deleted(client: TestClient, sort: str) -> None:
    filled(client, 40)
    before = in_order(client, sort)
    first = page(client, sort=sort, limit=10)
    listed = [image["id"] for image in first["items"]]
    deleted = {before[2], before[9], before[10], before[20]}
    for image_id in deleted:
        client.delete(f"/images/{image_id}")
    filled(client, 10, seed=1)
    after, cursor = in_order(client, sort), first["next_cursor"]
    while cursor is not None:
        found = page(client, sort=sort, limit=10, cursor=cursor)
        listed, cursor = listed + [image["id"] for image in found["items"]], found["next_cursor"]
    kept = set(before) - deleted
    # Each image that was there all the time is listed once, and each new one at most once, all in order.
    assert kept <= set(listed)
    assert len(set(listed)) == len(listed)
    rest = listed[10:]
    assert rest == [image_id for image_id in after if image_id in set(rest)]
    last = max(after.index(image_id) for image_id in listed[:9] if image_id not in deleted)
    assert [image_id for image_id in after[last + 1 :] if image_id in kept - set(listed[:10])] == [
        image_id for image_id in rest if image_id in kept
    ]


def test_sort_and_filters_both_apply(client: TestClient) -> None:
    filled(client, 40)
    boots = [image for image in images(client) if image["label"] == "boots"]
    found = page(client, sort="-price", label="boots", text="k", limit=3)
    assert found["total"] == len(boots)
    assert [image["id"] for image in found["items"]] == [
        image["id"] for image in sorted(boots, key=reference("-price"))
    ][:3]


def test_cursor_of_another_sort_is_refused(client: TestClient) -> None:
    filled(client, 4)
    cursors = {
        sort: page(client, sort=sort, limit=2)["next_cursor"] for sort in ("added", "key", "-key", "price", "label")
    }
    for sort in cursors:
        for other, cursor in cursors.items():
            answer = client.get("/images", params={"sort": sort, "cursor": cursor})
            assert answer.status_code == (200 if sort == other else 422), (sort, other)
            if sort != other:
                assert f"`sort={sort}`" in answer.json()["detail"]
    assert page(client, cursor=cursors["added"]) == page(client, sort="added", cursor=cursors["added"])


def test_forged_cursor_is_a_422(client: TestClient) -> None:
    filled(client, 4)
    for sort in ("price", "key", "mixed", "added"):
        cursor = page(client, sort=sort, limit=2)["next_cursor"]
        padded = cursor + "=" * (-len(cursor) % 4)
        digest = "" if sort == "added" else json.loads(urlsafe_b64decode(padded))[0]
        number: list[Any] = ["1e999999", "NaN", "9" * 500, "", 1, "١"]
        bodies: list[Any] = [[], {}, "", 7, None, [digest], [digest, *[None] * 4], [digest, [[]]], [digest, None]]
        bodies += [[digest, 0, value, None, 1] for value in number]
        bodies += [[digest, value] for value in ("\0", "\ud800", True, 1.5)]
        bodies += [[digest, 10**30, 1], [digest, 1.5, 1], [digest, True, None, None, 1], [digest, 1, None, "\0", 1]]
        forged = [urlsafe_b64encode(json.dumps(body).encode()).decode() for body in bodies]
        for text in [*forged, "é", "%", "A", "-1", "9" * 30, "[" * 5000, urlsafe_b64encode(b"[" * 5000).decode()]:
            assert client.get("/images", params={"sort": sort, "cursor": text}).status_code == 422, (sort, text)


@pytest.mark.parametrize("sort", ["", "-", "\0", "x" * 600])
def test_sort_without_a_field_is_a_422(client: TestClient, sort: str) -> None:
    answer = client.get("/images", params={"sort": sort})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "sort"


def test_search_results_are_sorted_after_ranking_and_ties_stay_in_their_rank(client: TestClient) -> None:
    filled(client, 40)
    one = images(client)[0]["id"]
    ranked = client.get(f"/images/{one}/similar", params={"k": 20, "explain": True}).json()["results"]
    image = {"image": random_image(7)}
    nearest = client.post("/search?k=5", files=image).json()["results"]
    for sort in SORTS:
        found = client.get(f"/images/{one}/similar", params={"k": 20, "explain": True, "sort": sort}).json()["results"]
        assert found == sorted(ranked, key=without_ties(sort)), sort
        found = client.post(f"/search?k=5&sort={sort}", files=image).json()["results"]
        assert found == sorted(nearest, key=without_ties(sort)), sort


def test_total_counts_the_matching_images_and_follows_changes(client: TestClient) -> None:
    filled(client, 30)
    labels = [image["label"] for image in images(client)]
    assert page(client, limit=1)["total"] == 30
    assert page(client, limit=1, label="boots")["total"] == labels.count("boots")
    assert page(client, limit=1, filter='{"label": {"$exists": true}}')["total"] == 30 - labels.count(None)
    client.delete(f"/images/{images(client)[0]['id']}")
    assert page(client, limit=1)["total"] == 29
    assert page(client, limit=1, text="nothing")["total"] == 0
