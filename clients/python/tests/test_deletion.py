"""Finding images by key and deleting several, from the endpoints for one image and for pages."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from lookalike_client import AsyncLookalike, InvalidInputError, Lookalike, NewImage, ProblemError, RetryPolicy

PAGE = 3


class Catalogue:
    """A service with a few images, which counts requests."""

    def __init__(self, *keys: str) -> None:
        self.images = dict(enumerate(keys, 1))
        self.requests: list[httpx.Request] = []
        self.lost_responses = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "DELETE":
            gone = self.images.pop(int(request.url.path.rpartition("/")[2]), None) is None
            if self.lost_responses:
                self.lost_responses -= 1
                raise httpx.ReadError("reset")
            return httpx.Response(404 if gone else 204, json={"code": "not_found"} if gone else None)
        return self.page(request.url.params)

    def page(self, params: httpx.QueryParams) -> httpx.Response:
        wanted = json.loads(params["filter"])["key"]["$in"] if "filter" in params else self.images.values()
        after = int(params.get("cursor") or 0)
        found = [(image_id, key) for image_id, key in self.images.items() if key in wanted and image_id > after]
        more = str(found[PAGE - 1][0]) if len(found) > PAGE else None
        items = [record(image_id, key) for image_id, key in found[:PAGE]]
        return httpx.Response(200, json={"items": items, "next_cursor": more})

    def client(self) -> Lookalike:
        return Lookalike(transport=httpx.MockTransport(self), retries=RetryPolicy(2, 0))


def record(image_id: int, key: str) -> dict[str, object]:
    about: dict[str, object] = {"label": None, "metadata": {}, "media_type": "image/png"}
    size = {"width": 1, "height": 1, "size_bytes": 1}
    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    return {"id": image_id, "key": key, "image_url": "", "thumbnail_url": "", **about, **size, **times}


def test_find_returns_the_records_of_known_keys() -> None:
    with Catalogue(*"abcdefgh").client() as client:
        assert [image.key for image in client.find(["h", "z", "b", "c", "d", "b"])] == ["b", "c", "d", "h"]
        assert client.find([]) == []


def test_find_sends_many_keys_in_several_requests() -> None:
    keys = [f"key-{at}" for at in range(450)]
    catalogue = Catalogue(*keys)
    with catalogue.client() as client:
        assert [image.key for image in client.find(reversed(keys))] == keys
    sent = {request.url.params["filter"] for request in catalogue.requests}
    assert sorted(len(json.loads(one)["key"]["$in"]) for one in sent) == [50, 200, 200]


def test_delete_many_counts_images_that_were_there() -> None:
    catalogue = Catalogue(*"abc")
    with catalogue.client() as client:
        assert client.delete_many([1, 9, 3]) == 2
    assert list(catalogue.images.values()) == ["b"]


def test_deletion_whose_response_is_lost_counts() -> None:
    catalogue = Catalogue(*"abc")
    catalogue.lost_responses = 1
    with catalogue.client() as client:
        assert client.delete_many([1, 2]) == 2


def test_delete_many_raises_other_errors() -> None:
    refusing = httpx.MockTransport(lambda _: httpx.Response(403, json={"detail": "The key lacks the scope write."}))
    with Lookalike(transport=refusing) as client, pytest.raises(ProblemError, match="scope write"):
        client.delete_many([1])


def test_delete_matching_deletes_all_pages() -> None:
    catalogue = Catalogue(*"abcdefgh")
    with catalogue.client() as client:
        assert client.delete_matching(filter={"key": {"$in": list("abcdexyz")}}) == 5
    assert list(catalogue.images.values()) == ["f", "g", "h"]


@pytest.mark.parametrize("filters", [{}, {"filter": {}}, {"label": None, "filter": None}])
def test_delete_matching_without_a_filter_deletes_nothing(filters: dict[str, Any]) -> None:
    catalogue = Catalogue("a")
    with catalogue.client() as client, pytest.raises(InvalidInputError, match="not every image"):
        client.delete_matching(**filters)
    assert catalogue.requests == []


def test_asynchronous_client_deletes_too() -> None:
    catalogue = Catalogue(*"abcdefgh")

    async def delete() -> int:
        async with AsyncLookalike(transport=httpx.MockTransport(catalogue)) as client:
            return await client.delete_matching(filter={"key": {"$in": ["a", "b"]}})

    assert asyncio.run(delete()) == 2
    assert len(catalogue.images) == 6


def test_choice_for_duplicates_is_sent_only_if_it_is_not_the_default() -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        item = {"id": None, "key": "b", "status": "skipped", "duplicate_of": "a"}
        return httpx.Response(201, json={"items": [item]})

    with Lookalike(transport=httpx.MockTransport(respond)) as client:
        (added,) = client.add([NewImage(b"x", "b")], on_duplicate="skip")
        client.add([NewImage(b"x", "b")])
    assert (added.status, added.duplicate_of) == ("skipped", "a")
    assert [dict(request.url.params) for request in seen] == [{"on_duplicate": "skip"}, {}]


def test_trace_gets_the_events_of_an_attempt() -> None:
    seen: list[httpx.Request] = []

    def trace(event: str, info: object) -> None:
        """Receive an event."""

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"items": [], "next_cursor": None})

    with Lookalike(transport=httpx.MockTransport(respond), trace=trace) as client:
        client.page()
    assert seen[0].extensions["trace"] is trace
    assert "timeout" in seen[0].extensions
