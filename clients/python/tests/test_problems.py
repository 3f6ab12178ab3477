"""Answers that are not the service's: of proxies that lead elsewhere or speak in its place, for both clients."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import pytest

from lookalike_client import (
    AsyncLookalike,
    FieldProblem,
    Lookalike,
    NewPicture,
    Patience,
    ProblemError,
    UnreachableError,
)

QUICK = Patience(tries=2, first_pause=0.001)
Call = Callable[[Any], Any]
CALLS: dict[str, Call] = {
    "search": lambda client: client.search(b"x"),
    "search_many": lambda client: client.search_many([b"x"]),
    "similar": lambda client: client.similar(5),
    "add": lambda client: client.add([NewPicture(b"x", "a")]),
    "get": lambda client: client.get(5),
    "page": lambda client: client.page(),
    "describe": lambda client: client.describe(5, label="a"),
    "delete": lambda client: client.delete(5),
    "original": lambda client: client.original(5),
    "thumbnail": lambda client: client.thumbnail(5),
    "facets": lambda client: client.facets(),
    "stats": lambda client: client.stats(),
    "send_archive": lambda client: client.send_archive(b"x"),
    "get_job": lambda client: client.get_job(5),
    "list_jobs": lambda client: client.list_jobs(),
    "cancel_job": lambda client: client.cancel_job(5),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def answered(call: Call, status: int, **said: Any) -> Any:
    """Makes a call of both clients that is answered so; returns what it returned, or raises what it raised."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, **said))

    async def later() -> Any:
        async with AsyncLookalike(patience=QUICK, transport=transport) as client:
            made: Coroutine[Any, Any, Any] = call(client)
            return await made

    def now() -> Any:
        with Lookalike(patience=QUICK, transport=transport) as client:
            return call(client)

    first, second = outcome(now), outcome(lambda: asyncio.run(later()))
    if isinstance(first, ProblemError):
        assert vars(first) == vars(second)
        raise first
    assert first == second
    return first


def outcome(made: Callable[[], Any]) -> Any:
    try:
        return made()
    except ProblemError as error:
        return error


@every_call
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_who_is_led_elsewhere_hears_where_to(call: Call, status: int) -> None:
    where = {"Location": "https://pictures.example/login"}
    with pytest.raises(ProblemError, match=r"leads to https://pictures\.example/login\. Use that address") as moved:
        answered(call, status, headers=where, html="<html>Moved</html>")
    assert moved.value.status == status


def test_a_redirect_that_leads_nowhere_is_no_answer_either() -> None:
    with pytest.raises(ProblemError, match="304 Not Modified"):
        answered(CALLS["original"], 304)


@every_call
def test_a_page_is_no_answer(call: Call) -> None:
    """As from what asks people to log in, and says 200 to everybody."""
    with pytest.raises(ProblemError, match=r"The answer 200 OK is not one of Lookalike's: .+ may listen") as strange:
        answered(call, 200, html="<html>Log in</html>")
    assert (strange.value.status, strange.value.errors) == (200, ())


def test_json_of_another_kind_is_no_answer() -> None:
    with pytest.raises(ProblemError, match="model: Field required"):
        answered(CALLS["search"], 200, json={"results": []})


@pytest.mark.parametrize("items", [0, 2])
def test_what_speaks_of_more_or_fewer_pictures_than_were_sent_is_no_answer(items: int) -> None:
    with pytest.raises(ProblemError, match=f"{items} pictures instead of 1"):
        answered(CALLS["add"], 201, json={"items": [{"id": 1, "key": "a", "status": "created"}] * items})


def test_pictures_and_deletions_that_are_granted_pass() -> None:
    assert answered(CALLS["original"], 200, content=b"bytes", headers={"Content-Type": "image/png"}) == b"bytes"
    assert answered(CALLS["delete"], 204) is None


@pytest.mark.parametrize("errors", [None, "no", {"field": "k"}, [None, "no"], 5])
def test_a_problem_whose_errors_are_none_of_ours_is_still_a_problem(errors: Any) -> None:
    with pytest.raises(ProblemError, match="Not here") as refused:
        answered(CALLS["stats"], 403, json={"title": None, "detail": "Not here.", "errors": errors})
    assert (refused.value.title, refused.value.errors) == ("Forbidden", ())


def test_of_errors_those_that_can_be_read_are() -> None:
    errors = [{"field": "k", "reason": "too many"}, None]
    with pytest.raises(ProblemError) as refused:
        answered(CALLS["stats"], 422, json={"detail": "No.", "errors": errors})
    assert refused.value.errors == (FieldProblem("k", "too many"),)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<html>\r\n<h1>413 Too Large</h1>\r\n<hr>nginx</html>", "413 Too Large nginx"),
        (b'{"detail": null}', "The service answered 502 Bad Gateway."),
        (b"[" * 100_000, "[[["),
        (b"", "The service answered 502 Bad Gateway."),
    ],
)
def test_a_proxy_s_refusal_is_told_in_its_words(body: bytes, sentence: str) -> None:
    with pytest.raises(ProblemError) as refused:
        answered(CALLS["stats"], 502, content=body)
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value)) <= 500


def test_a_body_that_cannot_be_unpacked_is_no_answer() -> None:
    # Given as a stream, because a response with content unpacks it at once.
    def answer(_: httpx2.Request) -> httpx2.Response:
        stream = httpx2.ByteStream(b"not gzip")
        return httpx2.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream)

    transport = httpx2.MockTransport(answer)
    with Lookalike(patience=QUICK, transport=transport) as client, pytest.raises(UnreachableError):
        client.stats()

    async def later() -> None:
        async with AsyncLookalike(patience=QUICK, transport=transport) as client:
            await client.stats()

    with pytest.raises(UnreachableError):
        asyncio.run(later())
