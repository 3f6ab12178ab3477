"""Near-duplicates over HTTP, compared with brute force over all pairs."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.test_index import add_images
from tests.fakes import FakeEncoder
from tests.images import encoded

COUNT, WITHIN = 40, 0.15


def drawing(number: int) -> Image.Image:
    """Return a random image; every third one is its predecessor, slightly brighter."""
    rng = np.random.default_rng(number - (number % 3 == 2))
    colours = rng.integers(0, 200, (4, 4, 3), np.uint8) + (2 if number % 3 == 2 else 0)
    return Image.fromarray(colours.astype(np.uint8)).resize((16, 16), Image.Resampling.NEAREST)


@pytest.fixture
def ids(client: TestClient) -> list[int]:
    return [item["id"] for item in add_images(client, *(encoded(drawing(number), "PNG") for number in range(COUNT)))]


def pairs(ids: list[int]) -> set[tuple[int, int]]:
    features = FakeEncoder().encode_many([drawing(number) for number in range(COUNT)]).features
    near = [
        (one, other)
        for one, other in combinations(range(COUNT), 2)
        if np.linalg.norm(features[one] - features[other]) <= WITHIN
    ]
    return {(ids[one], ids[other]) for one, other in near}


def answered(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_of_duplicates_cover_the_whole_catalogue(client: TestClient, ids: list[int], limit: int) -> None:
    found, cursor = set(), None
    while True:
        page = answered(
            client, "/duplicates", max_distance=WITHIN, limit=limit, **({"cursor": cursor} if cursor else {})
        )
        found |= {(group["image"]["id"], other["id"]) for group in page["groups"] for other in group["duplicates"]}
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == pairs(ids)
    assert len(found) == COUNT // 3


def test_duplicates_of_one_image(client: TestClient, ids: list[int]) -> None:
    one, other = min(pairs(ids))
    for image_id, duplicate in ((one, other), (other, one)):
        (match,) = answered(client, f"/images/{image_id}/duplicates", max_distance=WITHIN)
        assert match["id"] == duplicate
        assert 0 < match["distance"] <= WITHIN
    assert answered(client, f"/images/{one}/duplicates", max_distance=0) == []


def test_deleted_image_is_not_a_duplicate(client: TestClient, ids: list[int]) -> None:
    one, other = min(pairs(ids))
    assert client.delete(f"/images/{other}").status_code == 204
    assert answered(client, f"/images/{one}/duplicates", max_distance=WITHIN) == []
    assert client.get(f"/images/{other}/duplicates", params={"max_distance": WITHIN}).status_code == 404


def test_duplicates_without_calibration_or_max_distance_return_422(client: TestClient, ids: list[int]) -> None:
    for path in ("/duplicates", f"/images/{ids[0]}/duplicates"):
        refused = client.get(path)
        assert refused.status_code == 422
        assert "not calibrated" in refused.json()["detail"]
    assert client.get("/duplicates", params={"cursor": "x"}).status_code == 422
