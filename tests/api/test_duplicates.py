"""What is in the catalogue twice, over HTTP, compared with all pairs."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.test_index import index
from tests.fakes import FakeEncoder
from tests.pictures import encoded

COUNT, WITHIN = 40, 0.15


def drawing(number: int) -> Image.Image:
    """Every third picture is the one before it in slightly other light."""
    rng = np.random.default_rng(number - (number % 3 == 2))
    colours = rng.integers(0, 200, (4, 4, 3), np.uint8) + (2 if number % 3 == 2 else 0)
    return Image.fromarray(colours.astype(np.uint8)).resize((16, 16), Image.Resampling.NEAREST)


@pytest.fixture
def ids(client: TestClient) -> list[int]:
    return [item["id"] for item in index(client, *(encoded(drawing(number), "PNG") for number in range(COUNT)))]


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
def test_the_whole_catalogue_is_looked_through_page_by_page(client: TestClient, ids: list[int], limit: int) -> None:
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


def test_one_picture_s_duplicates(client: TestClient, ids: list[int]) -> None:
    one, other = min(pairs(ids))
    for asked, found in ((one, other), (other, one)):
        (match,) = answered(client, f"/images/{asked}/duplicates", max_distance=WITHIN)
        assert match["id"] == found
        assert 0 < match["distance"] <= WITHIN
    assert answered(client, f"/images/{one}/duplicates", max_distance=0) == []


def test_a_deleted_picture_is_nobodys_duplicate(client: TestClient, ids: list[int]) -> None:
    one, other = min(pairs(ids))
    assert client.delete(f"/images/{other}").status_code == 204
    assert answered(client, f"/images/{one}/duplicates", max_distance=WITHIN) == []
    assert client.get(f"/images/{other}/duplicates", params={"max_distance": WITHIN}).status_code == 404


def test_a_network_that_was_never_calibrated_wants_a_distance(client: TestClient, ids: list[int]) -> None:
    for path in ("/duplicates", f"/images/{ids[0]}/duplicates"):
        refused = client.get(path)
        assert refused.status_code == 422
        assert "not calibrated" in refused.json()["detail"]
    assert client.get("/duplicates", params={"cursor": "x"}).status_code == 422
