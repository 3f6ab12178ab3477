"""Error responses, and responses of proxies that redirect or respond in the service's place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from lookalike_client import (
    AsyncLookalike,
    FieldError,
    Lookalike,
    NewImage,
    ProblemError,
    RetryPolicy,
    UnreachableError,
)

FAST = RetryPolicy(attempts=2, initial_delay=0.001)
Call = Callable[[Any], Any]
CALLS: dict[str, Call] = {
    "search": lambda client: client.search(b"x"),
    "search_many": lambda client: client.search_many([b"x"]),
    "similar": lambda client: client.similar(5),
    "add": lambda client: client.add([NewImage(b"x", "a")]),
    "get": lambda client: client.get(5),
    "page": lambda client: client.page(),
    "update": lambda client: client.update(5, label="a"),
    "delete": lambda client: client.delete(5),
    "original": lambda client: client.original(5),
    "thumbnail": lambda client: client.thumbnail(5),
    "facets": lambda client: client.facets(),
    "stats": lambda client: client.stats(),
    "upload_archive": lambda client: client.upload_archive(b"x"),
    "get_job": lambda client: client.get_job(5),
    "list_jobs": lambda client: client.list_jobs(),
    "cancel_job": lambda client: client.cancel_job(5),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def answered(call: Call, status: int, **response: Any) -> Any:
    """Make a call with both clients against one response; return or raise their common outcome."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, **response))

    async def asynchronous() -> Any:
        async with AsyncLookalike(retries=FAST, transport=transport) as client:
            coroutine: Coroutine[Any, Any, Any] = call(client)
            return await coroutine

    def synchronous() -> Any:
        with Lookalike(retries=FAST, transport=transport) as client:
            return call(client)

    first, second = outcome(synchronous), outcome(lambda: asyncio.run(asynchronous()))
    if isinstance(first, ProblemError):
        assert vars(first) == vars(second)
        raise first
    assert first == second
    return first


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ProblemError as error:
        return error


@every_call
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_raises_and_names_the_location(call: Call, status: int) -> None:
    location = "https://pictures.example/login"
    with pytest.raises(ProblemError) as redirected:
        answered(call, status, headers={"Location": location}, html="<html>Moved</html>")
    assert redirected.value.status == status
    assert location in redirected.value.detail


def test_status_304_raises() -> None:
    with pytest.raises(ProblemError) as refused:
        answered(CALLS["original"], 304)
    assert (refused.value.status, refused.value.title) == (304, "Not Modified")


@every_call
def test_html_page_with_status_200_raises(call: Call) -> None:
    """Like a proxy's login page."""
    with pytest.raises(ProblemError) as refused:
        answered(call, 200, html="<html>Log in</html>")
    assert (refused.value.status, refused.value.title, refused.value.errors) == (200, "Unexpected response", ())


def test_json_of_another_shape_raises_and_names_the_missing_field() -> None:
    with pytest.raises(ProblemError, match="model_fingerprint: Field required"):
        answered(CALLS["search"], 200, json={"results": []})


@pytest.mark.parametrize("items", [0, 2])
def test_response_with_another_number_of_items_raises(items: int) -> None:
    with pytest.raises(ProblemError, match=f"expected 1 items, received {items}"):
        answered(CALLS["add"], 201, json={"items": [{"id": 1, "key": "a", "status": "created"}] * items})


def test_images_and_empty_responses_are_returned() -> None:
    assert answered(CALLS["original"], 200, content=b"bytes", headers={"Content-Type": "image/png"}) == b"bytes"
    assert answered(CALLS["delete"], 204) is None


def test_deletion_answered_with_a_body_raises() -> None:
    with pytest.raises(ProblemError, match="empty body"):
        answered(CALLS["delete"], 200, json={})


def test_problem_code_is_kept() -> None:
    problem = {"code": "not_found", "title": "Not Found", "detail": "No such image."}
    with pytest.raises(ProblemError) as refused:
        answered(CALLS["get"], 404, json=problem)
    assert (refused.value.code, refused.value.title) == ("not_found", "Not Found")


@pytest.mark.parametrize("errors", [None, "no", {"field": "k"}, [None, "no"], 5])
def test_problem_with_errors_of_another_shape_has_no_fields(errors: Any) -> None:
    with pytest.raises(ProblemError, match="Not here") as refused:
        answered(CALLS["stats"], 403, json={"title": None, "detail": "Not here.", "errors": errors})
    assert (refused.value.title, refused.value.errors, refused.value.code) == ("Forbidden", (), None)


def test_unreadable_items_of_errors_are_ignored() -> None:
    errors = [{"field": "k", "reason": "too many"}, None]
    with pytest.raises(ProblemError) as refused:
        answered(CALLS["stats"], 422, json={"detail": "No.", "errors": errors})
    assert refused.value.errors == (FieldError("k", "too many"),)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<html>\r\n<h1>413 Too Large</h1>\r\n<hr>nginx</html>", "413 Too Large nginx"),
        (b'{"detail": null}', "The service responded with 502 Bad Gateway."),
        (b"[" * 100_000, "[[["),
        (b"", "The service responded with 502 Bad Gateway."),
    ],
)
def test_error_of_a_proxy_is_shown_as_an_excerpt_of_its_page(body: bytes, text: str) -> None:
    with pytest.raises(ProblemError) as refused:
        answered(CALLS["stats"], 502, content=body)
    assert str(refused.value).startswith(text)
    assert len(str(refused.value)) <= 500


def test_body_that_cannot_be_decompressed_raises_unreachable() -> None:
    # As a stream, because a response with content decompresses it at once.
    def respond(_: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(b"not gzip")
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream)

    transport = httpx.MockTransport(respond)
    with Lookalike(retries=FAST, transport=transport) as client, pytest.raises(UnreachableError):
        client.stats()

    async def asynchronous() -> None:
        async with AsyncLookalike(retries=FAST, transport=transport) as client:
            await client.stats()

    with pytest.raises(UnreachableError):
        asyncio.run(asynchronous())
