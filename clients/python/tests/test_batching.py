"""Batching of images into requests, and splitting after a proxy or the service rejected a request."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

import httpx
import pytest

from lookalike_client import (
    MAX_BATCH_BYTES,
    MAX_BATCH_IMAGES,
    AddResult,
    AsyncLookalike,
    Lookalike,
    NewImage,
    ProblemError,
)

# Maximum bytes that the form adds to a request's images.
FORM_OVERHEAD = 20_000


class LimitedService:
    """A service that rejects requests above a size, and accepts every image in the others."""

    def __init__(self, limit: int, status: int) -> None:
        self.limit, self.status = limit, status
        self.sizes: list[int] = []
        self.rejected = 0
        self.keys: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        self.sizes.append(len(body))
        if len(body) > self.limit:
            self.rejected += 1
            return httpx.Response(self.status, json={"title": "Too much", "detail": "That was too much."})
        found = re.search(rb'name="metadata"\r\n\r\n(.*)\r\n', body)
        assert found is not None
        keys = [fields["key"] for fields in json.loads(found[1])]
        assert body.count(b'name="images"') == len(keys)
        self.keys += keys
        return httpx.Response(201, json={"items": [{"id": 1, "key": key, "status": "created"} for key in keys]})


Add = Callable[[LimitedService, Sequence[Sequence[NewImage]]], list[AddResult]]


def synchronously(service: LimitedService, calls: Sequence[Sequence[NewImage]]) -> list[AddResult]:
    with Lookalike(transport=httpx.MockTransport(service)) as client:
        return [result for new in calls for result in client.add(new)]


def asynchronously(service: LimitedService, calls: Sequence[Sequence[NewImage]]) -> list[AddResult]:
    async def added() -> list[AddResult]:
        async with AsyncLookalike(transport=httpx.MockTransport(service)) as client:
            return [result for new in calls for result in await client.add(new)]

    return asyncio.run(added())


both_clients = pytest.mark.parametrize("add", [synchronously, asynchronously])


def images(*sizes: int) -> list[NewImage]:
    return [NewImage(b"x" * size, f"key-{at}") for at, size in enumerate(sizes)]


@both_clients
def test_batches_are_limited_by_images_and_bytes_and_larger_images_are_sent_alone(add: Add) -> None:
    service = LimitedService(2**40, 413)
    new = images(MAX_BATCH_BYTES // 2, MAX_BATCH_BYTES // 4, MAX_BATCH_BYTES + 5, 10, 10, *[1] * MAX_BATCH_IMAGES)
    assert [result.key for result in add(service, [new])] == [image.key for image in new]
    expected = (MAX_BATCH_BYTES // 2 + MAX_BATCH_BYTES // 4, MAX_BATCH_BYTES + 5, 20 + MAX_BATCH_IMAGES - 2, 2)
    assert all(low < size < low + FORM_OVERHEAD for low, size in zip(expected, service.sizes, strict=True))
    assert service.sizes[2] > 10 * service.sizes[3], "the third request is full, the fourth holds the remainder"


@both_clients
@pytest.mark.parametrize("status", [408, 413])
def test_rejected_requests_are_split_and_results_keep_their_order(add: Add, status: int) -> None:
    service, new = LimitedService(100_000, status), images(*[20_000] * 30)
    results = add(service, [new])
    assert [(result.key, result.status) for result in results] == [(image.key, "created") for image in new]
    assert service.keys == [image.key for image in new], "each image is accepted once"
    assert service.rejected == 3, "600 kB, 300 kB, 150 kB"


@both_clients
def test_rejected_size_is_not_tried_again(add: Add) -> None:
    service = LimitedService(100_000, 413)
    add(service, [images(*[20_000] * 30)] * 3)
    assert service.rejected == 3
    assert len(service.keys) == 90


@both_clients
@pytest.mark.parametrize("status", [408, 413])
def test_image_that_is_too_large_alone_is_rejected_and_the_others_are_added(add: Add, status: int) -> None:
    service = LimitedService(100_000, status)
    new = images(10_000, 200_000, 10_000, 10_000)
    results = add(service, [new])
    assert [result.status for result in results] == ["created", "rejected", "created", "created"]
    assert results[1] == AddResult(None, "key-1", "rejected", "That was too much.")
    assert service.sizes[-1] < 30_000 + FORM_OVERHEAD, "the others share a request"


@both_clients
def test_rejected_image_without_key_has_its_hash_as_key(add: Add) -> None:
    (result,) = add(LimitedService(10, 413), [[NewImage(b"the bytes")]])
    assert (result.status, result.key) == ("rejected", hashlib.sha256(b"the bytes").hexdigest())


@both_clients
def test_splitting_ends_for_empty_images(add: Add) -> None:
    assert [result.status for result in add(LimitedService(10, 413), [images(0, 0, 0)])] == ["rejected"] * 3


def test_each_client_has_its_own_limit() -> None:
    service = LimitedService(100_000, 413)
    for _ in range(2):
        synchronously(service, [images(*[20_000] * 30)])
    assert service.rejected == 6


def test_method_has_the_signature_and_docstring_of_its_call() -> None:
    with Lookalike() as client:
        assert list(inspect.signature(client.add).parameters) == ["images", "on_duplicate"]
        assert "Add images" in str(client.add.__doc__)


@both_clients
def test_other_errors_do_not_split(add: Add) -> None:
    service = LimitedService(100, HTTPStatus.FORBIDDEN)
    with pytest.raises(ProblemError, match="too much"):
        add(service, [images(200, 200)])
    assert service.rejected == 1
