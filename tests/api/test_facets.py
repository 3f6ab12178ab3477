"""Facets over HTTP."""

from typing import Any

from fastapi.testclient import TestClient

from tests.api.test_index import add_images, random_image

METADATA: list[dict[str, Any]] = [
    {"label": "boots", "price": 10, "colour": "red", "sale": True},
    {"label": "boots", "price": 20.5, "colour": "red", "sizes": [1, 2]},
    {"label": "hats", "price": -3, "colour": "blue", "sizes": [1]},
    {"colour": 7, "<b>": "x"},
]


def facets(client: TestClient, **parameters: str) -> dict[str, Any]:
    answer = client.get("/facets", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_facets_count_labels_and_fields(client: TestClient) -> None:
    add_images(client, *(random_image(number) for number in range(4)), metadata=METADATA)
    found = facets(client)
    assert found["labels"] == [{"value": "boots", "count": 2}, {"value": "hats", "count": 1}]
    fields = {field.pop("name"): field for field in found["fields"]}
    assert list(fields) == ["colour", "price", "sizes", "<b>", "sale"]
    once = {"count": 1}
    assert fields["price"] == {
        "type": "number",
        "count": 3,
        "values": [{"value": value, **once} for value in (-3, 10, 20.5)],
        "distinct": 3,
        "min": -3,
        "max": 20.5,
    }
    assert (fields["colour"]["type"], fields["colour"]["count"], fields["colour"]["values"]) == ("other", 4, [])
    assert (fields["sizes"]["type"], fields["sizes"]["distinct"], fields["sizes"]["values"]) == ("other", 2, [])
    assert fields["sale"]["values"] == [{"value": True, **once}]
    assert fields["<b>"]["values"] == [{"value": "x", **once}]


def test_facets_count_only_matching_images_and_reflect_changes(client: TestClient) -> None:
    items = add_images(client, *(random_image(number) for number in range(4)), metadata=METADATA)
    found = facets(client, label="boots", filter='{"price": {"$gt": 15}}')
    assert found["labels"] == [{"value": "boots", "count": 1}]
    assert [field["name"] for field in found["fields"]] == ["colour", "price", "sizes"]
    client.patch(f"/images/{items[0]['id']}", json={"label": "shoes"})
    assert {count["value"] for count in facets(client)["labels"]} == {"boots", "hats", "shoes"}
    assert facets(client, label="shoes")["fields"][0]["count"] == 1


def test_facets_of_an_empty_catalogue_are_empty(client: TestClient) -> None:
    assert facets(client) == {"labels": [], "fields": []}
