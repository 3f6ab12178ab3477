"""Searches with several examples: the requests that are sent."""

from __future__ import annotations

import json
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike_client import InvalidInputError, Lookalike, ProblemError


def sent(*images: Any, **arguments: Any) -> httpx.Request:
    """Return the request of a search."""
    requests: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        return httpx.Response(422, json={"title": "No"})

    with Lookalike(transport=httpx.MockTransport(respond)) as client, pytest.raises(ProblemError):
        client.search(*images, **arguments)
    return requests[0]


def parts(request: httpx.Request) -> list[tuple[str, str | None, bytes]]:
    """Return name, file name and content of each part of a form."""
    head = f"Content-Type: {request.headers['content-type']}\n\n".encode()
    form: list[Any] = list(message_from_bytes(head + request.content).walk())[1:]
    return [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
        for part in form
    ]


def test_ids_and_keys_are_sent_as_json() -> None:
    request = sent(like=[17, "17"], unlike=["sku-4"], k=3)
    assert json.loads(request.content) == {"like": [17, "17"], "unlike": ["sku-4"]}
    assert dict(request.url.params) == {"k": "3"}
    weighted = sent(like=[17, "17"], weights={"like": [2, 0.5]})
    assert json.loads(weighted.content) == {"like": [17, "17"], "weights": {"like": [2, 0.5]}}


def test_images_are_sent_in_a_form_with_ids_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "boot.jpg"
    path.write_bytes(b"boot")
    request = sent(str(path), like=[17, b"hat", "17"], unlike=[path, "sku-4"], crop=(1, 2, 3, 4))
    assert sorted(parts(request)) == sorted(
        [
            ("like", None, b"17"),
            ("like", None, b"key:17"),
            ("unlike", None, b"key:sku-4"),
            ("image", "boot.jpg", b"boot"),
            ("image", "image", b"hat"),
            ("unlike_image", "boot.jpg", b"boot"),
        ]
    )


def test_weights_follow_their_images_into_the_fields() -> None:
    request = sent(b"a", like=[17, b"b", "c"], unlike=[b"d"], weights={"image": [5], "like": [1, 2, 3]})
    (weights,) = [content for name, _, content in parts(request) if name == "weights"]
    assert json.loads(weights) == {"image": [5, 2], "like": [1, 3], "unlike_image": [1]}


def test_search_without_an_image_to_find_raises() -> None:
    with Lookalike() as client:
        for unlike in ([], [1]):
            with pytest.raises(InvalidInputError) as invalid:
                client.search(unlike=unlike)
            assert invalid.value.field == "image"


def test_weights_of_another_number_than_the_images_raise() -> None:
    with Lookalike() as client, pytest.raises(InvalidInputError, match="like has 1 weights for 2 images"):
        client.search(like=[1, 2], weights={"like": [1]})


def test_file_name_that_is_not_text_is_sent_with_a_substitute(tmp_path: Path) -> None:
    path = tmp_path / "b\udce9.jpg"
    path.write_bytes(b"boot")
    assert [name for _, name, _ in parts(sent(like=[path]))] == ["b?.jpg"]
