"""What is too much for one request goes in smaller ones: over a slow uplink, and past what a proxy lets through."""

import asyncio
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

import httpx2
import pytest

from lookalike_client import Added, AsyncLookalike, Lookalike, NewPicture, ProblemError
from lookalike_client.batching import BYTES, PICTURES

# What a form adds to its pictures, at most.
AROUND = 20_000


class Narrow:
    """A service that takes requests of so many bytes, and adds whatever else it is sent."""

    def __init__(self, limit: int, status: int) -> None:
        self.limit, self.status = limit, status
        self.sizes: list[int] = []
        self.refused = 0
        self.keys: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = request.read()
        self.sizes.append(len(body))
        if len(body) > self.limit:
            self.refused += 1
            return httpx2.Response(self.status, json={"title": "Too much", "detail": "That was too much."})
        found = re.search(rb'name="metadata"\r\n\r\n(.*)\r\n', body)
        assert found is not None
        keys = [about["key"] for about in json.loads(found[1])]
        assert body.count(b'name="images"') == len(keys)
        self.keys += keys
        return httpx2.Response(201, json={"items": [{"id": 1, "key": key, "status": "created"} for key in keys]})


Add = Callable[[Narrow, Sequence[Sequence[NewPicture]]], list[Added]]


def now(service: Narrow, calls: Sequence[Sequence[NewPicture]]) -> list[Added]:
    with Lookalike(transport=httpx2.MockTransport(service)) as client:
        return [item for new in calls for item in client.add(new)]


def later(service: Narrow, calls: Sequence[Sequence[NewPicture]]) -> list[Added]:
    async def added() -> list[Added]:
        async with AsyncLookalike(transport=httpx2.MockTransport(service)) as client:
            return [item for new in calls for item in await client.add(new)]

    return asyncio.run(added())


both = pytest.mark.parametrize("add", [now, later])


def pictures(*sizes: int) -> list[NewPicture]:
    return [NewPicture(b"x" * size, f"key-{at}") for at, size in enumerate(sizes)]


@both
def test_a_request_holds_so_many_and_so_much_and_what_is_larger_goes_alone(add: Add) -> None:
    service = Narrow(2**40, 413)
    new = pictures(BYTES // 2, BYTES // 4, BYTES + 5, 10, 10, *[1] * PICTURES)
    assert [item.key for item in add(service, [new])] == [picture.key for picture in new]
    held = (BYTES // 2 + BYTES // 4, BYTES + 5, 20 + PICTURES - 2, 2)
    assert all(least < size < least + AROUND for least, size in zip(held, service.sizes, strict=True))
    assert service.sizes[2] > 10 * service.sizes[3], "the first of the two is full of pictures"


@both
@pytest.mark.parametrize("status", [408, 413])
def test_what_is_too_much_goes_in_smaller_requests_in_its_order(add: Add, status: int) -> None:
    service, new = Narrow(100_000, status), pictures(*[20_000] * 30)
    added = add(service, [new])
    assert [(item.key, item.status) for item in added] == [(picture.key, "created") for picture in new]
    assert service.keys == [picture.key for picture in new], "each was taken once"
    assert service.refused == 3, "600 kB, 300 kB, 150 kB"


@both
def test_what_was_too_much_once_is_not_tried_again(add: Add) -> None:
    service = Narrow(100_000, 413)
    add(service, [pictures(*[20_000] * 30)] * 3)
    assert service.refused == 3
    assert len(service.keys) == 90


@both
@pytest.mark.parametrize("status", [408, 413])
def test_a_picture_that_is_refused_alone_is_rejected_and_the_others_go_on(add: Add, status: int) -> None:
    service = Narrow(100_000, status)
    new = pictures(10_000, 200_000, 10_000, 10_000)
    added = add(service, [new])
    assert [item.status for item in added] == ["created", "rejected", "created", "created"]
    assert added[1] == Added(None, "key-1", "rejected", "That was too much.")
    assert service.sizes[-1] < 30_000 + AROUND, "the others share a request"


@both
def test_a_picture_that_is_refused_without_a_key_has_the_one_that_it_would_have(add: Add) -> None:
    (added,) = add(Narrow(10, 413), [[NewPicture(b"the bytes")]])
    assert (added.status, added.key) == ("rejected", hashlib.sha256(b"the bytes").hexdigest())


@both
def test_what_holds_nothing_ends_too(add: Add) -> None:
    assert [item.status for item in add(Narrow(10, 413), [pictures(0, 0, 0)])] == ["rejected"] * 3


def test_clients_learn_each_for_itself() -> None:
    service = Narrow(100_000, 413)
    for _ in range(2):
        now(service, [pictures(*[20_000] * 30)])
    assert service.refused == 6


def test_the_call_says_what_it_takes() -> None:
    with Lookalike() as client:
        assert list(inspect.signature(client.add).parameters) == ["pictures"]
        assert "Adds pictures" in str(client.add.__doc__)


@both
def test_other_refusals_are_no_reason_to_send_less(add: Add) -> None:
    with pytest.raises(ProblemError, match="too much"):
        add(Narrow(100, HTTPStatus.FORBIDDEN), [pictures(200, 200)])
