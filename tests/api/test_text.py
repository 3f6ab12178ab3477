"""Text searches over HTTP: lists, facets and searches of the images with some words."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.test_images import pages
from tests.api.test_index import add_images, random_image

METADATA: list[dict[str, Any]] = [
    {"key": "sku-104/red_boot.jpg", "label": "boots", "title": "Warm boot"},
    {"key": "sku-105.jpg", "label": "hats", "title": "Bottes d'été", "tags": ["red", {"season": "winter"}]},
    {"key": "sku-106.jpg", "label": "boots", "title": "Leather sandals", "price": 104},
]
EVERYWHERE = ("red", "boot -warm", '"sku 104"', "ete or leather", "104", "hats winter", "nothing")


@pytest.fixture
def ids(client: TestClient) -> list[int]:
    return [item["id"] for item in add_images(client, *map(random_image, range(3)), metadata=METADATA)]


def by_call(client: TestClient, one: int, text: str) -> list[list[int]]:
    """Return the ids that each call finds, sorted."""
    image = {"image": random_image(7)}
    parameters: dict[str, Any] = {"text": text, "k": 50}
    batch = client.post("/search/batch", params=parameters, files=[("images", random_image(7))] * 2).json()["items"]
    searches = [
        client.post("/search", params=parameters, files=image).json(),
        client.get(f"/images/{one}/similar", params=parameters).json(),
        *(item["response"] for item in batch),
    ]
    found = [[match["id"] for match in search["results"]] for search in searches]
    return [*map(sorted, found), [image for page in pages(client, text=text, limit=2) for image in page]]


def test_every_call_finds_the_images_with_the_words(client: TestClient, ids: list[int]) -> None:
    one, two, three = ids
    expected = dict(zip(EVERYWHERE, ([one, two], [three], [one], [two, three], [one, three], [two], []), strict=True))
    for text, wanted in expected.items():
        assert all(found == wanted for found in by_call(client, one, text)), text
        assert sum(count["count"] for count in client.get("/facets", params={"text": text}).json()["labels"]) == len(
            wanted
        )


def test_text_and_filters_both_apply(client: TestClient, ids: list[int]) -> None:
    assert pages(client, text="red", label="boots") == [[ids[0]]]
    assert pages(client, text="sku", filter='{"price": {"$gt": 100}}') == [[ids[2]]]
    facets = client.get("/facets", params={"text": "sku", "label": "boots"}).json()
    assert facets["labels"] == [{"value": "boots", "count": 2}]


def test_text_follows_every_acknowledged_change(client: TestClient, ids: list[int]) -> None:
    one, two, three = ids
    assert by_call(client, one, "red")[0] == [one, two]
    client.patch(f"/images/{one}", json={"metadata": {"title": "Scarlet"}})
    client.patch(f"/images/{three}", json={"label": "Red sandals"})
    client.delete(f"/images/{two}")
    (new,) = add_images(client, random_image(9), metadata=[{"key": "infra/red-4.jpg"}])
    assert all(found == [one, three, new["id"]] for found in by_call(client, one, "red"))
    assert all(found == [one] for found in by_call(client, one, "scarlet"))
    add_images(client, random_image(10), metadata=[{"key": "infra/red-4.jpg", "label": "blue"}])
    assert all(found == [new["id"]] for found in by_call(client, one, "blue -scarlet"))


def test_unknown_word_is_named_with_similar_words(client: TestClient, ids: list[int]) -> None:
    for text, warnings in {
        "sandlas": ["No image has the word 'sandlas'. Similar words: sandals."],
        "Lether": ["No image has the word 'Lether'. Similar words: leather."],
        "boots wintre": ["No image has the word 'wintre'. Similar words: winter."],
        "zzz": ["No image has the word 'zzz'."],
        "hats sandals": [],
        "-sku": [],
    }.items():
        page = client.get("/images", params={"text": text}).json()
        assert (page["items"], page["total"], page["warnings"]) == ([], 0, warnings), text
        search = client.get(f"/images/{ids[0]}/similar", params={"text": text}).json()
        assert (search["results"], search["warnings"]) == ([], warnings), text


@pytest.mark.parametrize(
    ("text", "why"), [("a" * 10_000, "10,000 characters; at most 512"), ("…", "has no word"), ("x " * 40, "40 words")]
)
@pytest.mark.parametrize("path", ["/images", "/facets", "/images/1/similar"])
def test_text_that_cannot_be_searched_is_a_422_that_says_why(
    client: TestClient, path: str, text: str, why: str
) -> None:
    answer = client.get(path, params={"text": text})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "text"
    assert why in answer.json()["detail"]
