"""Retries after connection errors and while the service is busy, within the policy's limits."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from lookalike_client import AddResult, AsyncLookalike, Lookalike, NewImage, ProblemError, RetryPolicy, UnreachableError
from lookalike_client.retries import retry_after

FAST = RetryPolicy(attempts=4, initial_delay=0.001, max_delay=2.0)
Outcome = httpx.Response | type[httpx.TransportError]


def in_turn(outcomes: Sequence[Outcome], bodies: list[bytes]) -> Callable[[httpx.Request], httpx.Response]:
    """Return a handler that produces one outcome after the other, and records the requests' bodies."""
    remaining = iter(outcomes)

    def respond(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        outcome = next(remaining)
        if isinstance(outcome, httpx.Response):
            # A response can be read once.
            return httpx.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)
        raise outcome("cut off")

    return respond


def client_of(outcomes: Sequence[Outcome], bodies: list[bytes]) -> Lookalike:
    return Lookalike(retries=FAST, transport=httpx.MockTransport(in_turn(outcomes, bodies)))


def added() -> httpx.Response:
    return httpx.Response(201, json={"items": [{"id": 1, "key": "a", "status": "created"}]})


def busy(after: str | None = None, status: int = 503) -> httpx.Response:
    headers = {"Retry-After": after} if after is not None else {}
    return httpx.Response(status, headers=headers, json={"title": "Busy", "detail": "Not now."})


@pytest.mark.parametrize(
    "before",
    [[httpx.ConnectError], [httpx.ReadError, httpx.ReadTimeout], [busy()], [busy("0"), busy("0", 429)]],
    ids=["refused", "cut off", "busy", "busy twice"],
)
def test_transient_failures_are_retried_with_the_same_body(before: list[Outcome]) -> None:
    new, outcomes = [NewImage(b"the bytes", "a")], [*before, added()]
    bodies: list[bytes] = []
    with client_of(outcomes, bodies) as client:
        results = client.add(new)
    later_bodies: list[bytes] = []
    later = asyncio.run(add_asynchronously(new, httpx.MockTransport(in_turn(outcomes, later_bodies))))
    assert [result.key for result in results] == [result.key for result in later] == ["a"]
    assert len(bodies) == len(later_bodies) == len(before) + 1
    assert all(b"the bytes" in body for body in bodies + later_bodies)


async def add_asynchronously(new: list[NewImage], transport: httpx.MockTransport) -> list[AddResult]:
    async with AsyncLookalike(retries=FAST, transport=transport) as client:
        return await client.add(new)


def test_retry_after_is_respected() -> None:
    bodies: list[bytes] = []
    began = time.monotonic()
    with client_of([busy("1"), added()], bodies) as client:
        client.add([NewImage(b"x", "a")])
    assert 1.0 <= time.monotonic() - began < 2.0


def test_retry_after_beyond_the_maximum_delay_raises_at_once() -> None:
    bodies: list[bytes] = []
    with client_of([busy("3600")], bodies) as client, pytest.raises(ProblemError) as refused:
        client.stats()
    assert refused.value.retry_after == 3600
    assert len(bodies) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_permanent_errors_are_not_retried(status: int) -> None:
    bodies: list[bytes] = []
    responses = [httpx.Response(status, json={"title": "No", "detail": "Never."})]
    with client_of(responses, bodies) as client, pytest.raises(ProblemError, match="Never") as refused:
        client.stats()
    assert (refused.value.status, refused.value.title, len(bodies)) == (status, "No", 1)


def test_retries_end_after_the_policys_attempts() -> None:
    bodies: list[bytes] = []
    with client_of([busy()] * 9, bodies) as client, pytest.raises(ProblemError, match="Not now"):
        client.stats()
    assert len(bodies) == FAST.attempts


def test_refused_connection_raises_unreachable() -> None:
    # A bound port without a listener refuses connections.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with Lookalike(url, retries=FAST) as client, pytest.raises(UnreachableError) as unreachable:
            client.stats()
    assert unreachable.value.url == url
    assert url in str(unreachable.value)


def test_deletion_whose_response_was_lost_succeeds() -> None:
    not_found = httpx.Response(404, json={"title": "Not Found", "detail": "There is no such image."})
    with client_of([httpx.ReadError, not_found], []) as client:
        client.delete(1)
    with client_of([not_found], []) as client, pytest.raises(ProblemError):
        client.delete(1)


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=30), usegmt=True)
    seconds = retry_after({"retry-after": soon})
    assert seconds is not None
    assert 25 < seconds <= 30
    assert retry_after({"retry-after": format_datetime(datetime.now(timezone.utc) - timedelta(days=1))}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"initial_delay": -1.0}, {"max_delay": -0.1}])
def test_invalid_policy_raises(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
