"""When a call is repeated: after a lost connection and where the service is busy, and not for ever."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from lookalike_client import Added, AsyncLookalike, Lookalike, NewPicture, Patience, ProblemError, UnreachableError
from lookalike_client.retries import retry_after

QUICK = Patience(tries=4, first_pause=0.001, longest_pause=2.0)
Outcome = httpx2.Response | type[httpx2.TransportError]


def in_turn(outcomes: Sequence[Outcome], seen: list[bytes]) -> Callable[[httpx2.Request], httpx2.Response]:
    """Answers with one outcome after the other."""
    left = iter(outcomes)

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.read())
        outcome = next(left)
        if isinstance(outcome, httpx2.Response):
            # A response can be read once.
            return httpx2.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)
        raise outcome("cut off")

    return answer


def asking(outcomes: Sequence[Outcome], seen: list[bytes]) -> Lookalike:
    return Lookalike(patience=QUICK, transport=httpx2.MockTransport(in_turn(outcomes, seen)))


def indexed() -> httpx2.Response:
    return httpx2.Response(201, json={"items": [{"id": 1, "key": "a", "status": "created"}]})


def busy(after: str | None = None, status: int = 503) -> httpx2.Response:
    headers = {"Retry-After": after} if after is not None else {}
    return httpx2.Response(status, headers=headers, json={"title": "Busy", "detail": "Not now."})


@pytest.mark.parametrize(
    "before",
    [[httpx2.ConnectError], [httpx2.ReadError, httpx2.ReadTimeout], [busy()], [busy("0"), busy("0", 429)]],
    ids=["refused", "cut off", "busy", "busy twice"],
)
def test_what_may_pass_is_waited_for_and_the_same_is_sent_again(before: list[Outcome]) -> None:
    for kind in ("sync", "async"):
        seen: list[bytes] = []
        new, outcomes = [NewPicture(b"the bytes", "a")], [*before, indexed()]
        if kind == "sync":
            with asking(outcomes, seen) as client:
                added = client.add(new)
        else:
            added = asyncio.run(add_later(new, httpx2.MockTransport(in_turn(outcomes, seen))))
        assert [item.key for item in added] == ["a"]
        assert len(seen) == len(before) + 1
        assert all(b"the bytes" in body for body in seen)


async def add_later(new: list[NewPicture], transport: httpx2.MockTransport) -> list[Added]:
    async with AsyncLookalike(patience=QUICK, transport=transport) as client:
        return await client.add(new)


def test_the_service_says_how_long() -> None:
    seen: list[bytes] = []
    began = time.monotonic()
    with asking([busy("1"), indexed()], seen) as client:
        client.add([NewPicture(b"x", "a")])
    assert 1.0 <= time.monotonic() - began < 2.0


def test_who_is_asked_to_wait_too_long_hears_of_it_at_once() -> None:
    seen: list[bytes] = []
    with asking([busy("3600")], seen) as client, pytest.raises(ProblemError) as refused:
        client.stats()
    assert refused.value.retry_after == 3600
    assert len(seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_what_will_not_pass_is_not_repeated(status: int) -> None:
    seen: list[bytes] = []
    answers = [httpx2.Response(status, json={"title": "No", "detail": "Never."})]
    with asking(answers, seen) as client, pytest.raises(ProblemError, match="Never") as refused:
        client.stats()
    assert (refused.value.status, refused.value.title, len(seen)) == (status, "No", 1)


def test_patience_ends() -> None:
    seen: list[bytes] = []
    with asking([busy()] * 9, seen) as client, pytest.raises(ProblemError, match="Not now"):
        client.stats()
    assert len(seen) == QUICK.tries


def test_nobody_there_is_said_in_a_sentence() -> None:
    # A port that is bound, and not listened to, refuses connections.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with Lookalike(address, patience=QUICK) as client, pytest.raises(UnreachableError, match="Is the service runn"):
            client.stats()


def test_a_deletion_whose_answer_was_lost_is_done() -> None:
    not_there = httpx2.Response(404, json={"title": "Not Found", "detail": "There is no such picture."})
    with asking([httpx2.ReadError, not_there], []) as client:
        client.delete(1)
    with asking([not_there], []) as client, pytest.raises(ProblemError):
        client.delete(1)


def test_an_answer_in_other_words_is_still_a_problem() -> None:
    page = httpx2.Response(502, text="<html>Bad Gateway</html>")
    with asking([page], []) as client, pytest.raises(ProblemError, match="Bad Gateway"):
        client.stats()


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    waited = retry_after({"retry-after": soon})
    assert waited is not None
    assert 25 < waited <= 30
    assert retry_after({"retry-after": format_datetime(datetime.now(UTC) - timedelta(days=1))}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
