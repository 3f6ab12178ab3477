"""`POST /index` over HTTP: results and stored images."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from app.catalogue.storage.local import content_hash
from tests.images import encoded

INVALID_IMAGE = b"not a picture"


def random_image(seed: int) -> bytes:
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return encoded(Image.fromarray(colours).resize((16, 16), Image.Resampling.NEAREST), "PNG")


def add_images(
    client: TestClient, *pictures: bytes, metadata: Sequence[Mapping[str, object]] | None = None
) -> list[dict[str, Any]]:
    files = [("images", ("picture", data)) for data in pictures]
    answer = client.post("/index", files=files, data={"metadata": json.dumps(metadata)} if metadata else None)
    assert answer.status_code == 201, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_results_are_in_the_order_of_the_images(client: TestClient) -> None:
    about: list[dict[str, object]] = [{"key": "one", "label": "boots", "price": 3}, {"key": "two"}, {}]
    items = add_images(client, random_image(1), INVALID_IMAGE, random_image(3), metadata=about)
    assert [(item["key"], item["status"]) for item in items] == [
        ("one", "created"),
        ("two", "rejected"),
        (content_hash(random_image(3)), "created"),
    ]
    assert (items[1]["id"], items[0]["error"]) == (None, None)
    assert "not in a supported image format" in items[1]["error"]
    stored = client.get(f"/images/{items[0]['id']}").json()
    assert (stored["key"], stored["label"], stored["metadata"]) == ("one", "boots", {"price": 3})


def test_metadata_is_optional(client: TestClient) -> None:
    assert add_images(client, random_image(1))[0]["key"] == content_hash(random_image(1))
    answer = client.post("/index", files={"images": random_image(2)}, data={"metadata": "  "})
    assert answer.json()["items"][0]["status"] == "created"


def test_repeated_request_changes_nothing(client: TestClient) -> None:
    about: list[dict[str, object]] = [{"key": "one", "size": 42}, {"key": "two"}]
    first = add_images(client, random_image(1), random_image(2), metadata=about)
    again = add_images(client, random_image(1), random_image(2), metadata=about)
    assert [item["status"] for item in again] == ["unchanged", "unchanged"]
    assert [item["id"] for item in again] == [item["id"] for item in first]
    assert client.get("/stats").json()["images"] == 2


def test_same_key_with_other_bytes_updates_the_image(client: TestClient) -> None:
    (first,) = add_images(client, random_image(1), metadata=[{"key": "one", "label": "boots", "size": 42}])
    (second,) = add_images(client, random_image(2), metadata=[{"key": "one"}])
    assert (second["id"], second["status"]) == (first["id"], "updated")
    stored = client.get(f"/images/{first['id']}").json()
    assert (stored["label"], stored["metadata"]) == ("boots", {"size": 42})
    assert client.get(stored["image_url"]).content == random_image(2)


def test_metadata_round_trips(client: TestClient) -> None:
    fields = {
        "text": 'Ünïcode 🥾 "quoted" \\ / \u2028',
        "numbers": [0, -1, 0.5, 2**60, 1e-7],
        "nested": {"list": [{"deep": None}], "empty": {}, "": "an empty name"},
        "true": True,
        "model_config": "a name that pydantic uses",
        "x" * 600: "a long name",
    }
    (item,) = add_images(client, random_image(1), metadata=[{"key": "ключ/../..\\%00 «1»", **fields}])
    stored = client.get(f"/images/{item['id']}").json()
    assert stored["metadata"] == fields
    assert stored["key"] == "ключ/../..\\%00 «1»"


def test_longest_key_and_label_are_accepted(client: TestClient) -> None:
    longest = "🥾" * 512
    (item,) = add_images(client, random_image(1), metadata=[{"key": longest, "label": longest}])
    stored = client.get(f"/images/{item['id']}").json()
    assert (stored["key"], stored["label"]) == (longest, longest)
    assert client.get("/images", params={"label": longest}).json()["items"] == [stored]


def test_request_with_several_commits_adds_all_images(client: TestClient) -> None:
    about = [{"key": f"key {number}"} for number in range(130)]
    items = add_images(client, *(random_image(number % 10) for number in range(130)), metadata=about)
    assert [item["key"] for item in items] == [entry["key"] for entry in about]
    assert {item["status"] for item in items} == {"created"}
    assert client.get("/stats").json()["images"] == 130


def test_concurrent_additions_with_one_key_create_one_image(client: TestClient) -> None:
    about = [{"key": "one"}]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda n: add_images(client, random_image(n % 3), metadata=about), range(12)))
    found = [item["status"] for (item,) in answers]
    assert found.count("created") == 1
    assert "rejected" not in found
    assert len({item["id"] for (item,) in answers}) == 1
    assert client.get("/stats").json()["images"] == 1


def test_acknowledged_image_is_found_by_the_next_search(client: TestClient) -> None:
    for number in range(3):
        (item,) = add_images(client, random_image(number))
        found = client.post("/search", files={"image": random_image(number)}).json()["results"][0]
        assert (found["id"], found["distance"]) == (item["id"], 0)


def test_new_key_for_stored_bytes_names_the_other_key_or_is_skipped(client: TestClient) -> None:
    add_images(client, random_image(1), metadata=[{"key": "one"}])
    (added,) = add_images(client, random_image(1), metadata=[{"key": "two"}])
    assert (added["status"], added["duplicate_of"]) == ("created", "one")
    files = [("images", random_image(1)), ("images", random_image(2))]
    about = {"metadata": json.dumps([{"key": "three"}, {"key": "four"}])}
    items = client.post("/index?on_duplicate=skip", files=files, data=about).json()["items"]
    assert [(item["status"], item["duplicate_of"], item["id"] is None) for item in items] == [
        ("skipped", "one", True),
        ("created", None, False),
    ]
    assert client.get("/stats").json()["images"] == 3


def test_unknown_choice_for_duplicates_is_invalid(client: TestClient) -> None:
    answer = client.post("/index?on_duplicate=replace", files={"images": random_image(1)})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "on_duplicate")
    assert client.get("/stats").json()["images"] == 0
