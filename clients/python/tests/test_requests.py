"""Requests of the clients: options, headers and images."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from lookalike_client import AsyncLookalike, InvalidInputError, Lookalike, NewImage, ProblemError, SearchResult
from lookalike_client.methods import ApiMethods

RESULT = {
    "model_fingerprint": "0123456789abcdef",
    "code": "00",
    "mode": "hds",
    "pool_size": 1,
    "catalogue_size": 1,
    "results": [
        {
            "id": 1,
            "key": "a",
            "distance": 0.0,
            "hamming": 0,
            "similarity": 1.0,
            "label": None,
            "metadata": {"price": 3},
            "image_url": "/images/1/original",
            "thumbnail_url": "/images/1/thumbnail",
            "added_by_a_later_version": True,
        }
    ],
    "timings_ms": {"total": 1.5},
}


class PillowLike:
    """An object with the `save` method of a Pillow image."""

    def save(self, fp: IO[bytes], file_format: str, /) -> None:
        fp.write(file_format.encode() + b" of an image")


def rejecting(seen: list[httpx.Request]) -> httpx.MockTransport:
    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(422, json={"title": "No", "detail": "Not here."})

    return httpx.MockTransport(respond)


def search(image: Any) -> tuple[SearchResult, bytes]:
    """Search with an image; returns the result, and the body that was sent."""
    bodies: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(200, json=RESULT)

    with Lookalike(transport=httpx.MockTransport(respond)) as client:
        result = client.search(image)
    return result, bodies[0]


def test_every_method_is_documented_and_on_both_clients() -> None:
    names = [name for name in vars(ApiMethods) if not name.startswith("_")]
    assert len(names) >= 12
    for name in names:
        assert vars(ApiMethods)[name].__doc__
        assert getattr(Lookalike, name) is getattr(AsyncLookalike, name)


def test_search_sends_every_option() -> None:
    seen: list[httpx.Request] = []
    with Lookalike(transport=rejecting(seen)) as client, pytest.raises(ProblemError):
        client.search(
            b"x",
            k=3,
            mode="es",
            pool=5,
            radius=0,
            asymmetric=False,
            label="a",
            filter={"a": 1},
            min_similarity=0.5,
            group_by="g",
            crop=(1, 2, 3, 4),
            explain=True,
        )
    sent = {"k": 3, "mode": "es", "pool": 5, "radius": 0, "label": "a", "filter": '{"a": 1}', "min_similarity": 0.5}
    sent |= {"group_by": "g", "crop": "1,2,3,4", "explain": "true", "asymmetric": "false"}
    assert dict(seen[0].url.params) == {name: str(value) for name, value in sent.items()}


def test_api_key_is_sent_as_a_bearer_token() -> None:
    seen: list[httpx.Request] = []
    with Lookalike(key="lk_1_x", transport=rejecting(seen)) as client, pytest.raises(ProblemError):
        client.stats()
    assert seen[0].headers["authorization"] == "Bearer lk_1_x"


def test_image_may_be_a_path_bytes_or_a_pillow_image(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"PNG of an image")
    for image in (path, str(path), b"PNG of an image", PillowLike()):
        result, body = search(image)
        assert b"PNG of an image" in body
        assert [(match.key, match.metadata) for match in result.matches] == [("a", {"price": 3})]


@pytest.mark.parametrize("image", [None, 5, io.BytesIO(b"x")])
def test_other_types_of_images_raise(image: Any) -> None:
    with pytest.raises(InvalidInputError) as invalid:
        search(image)
    assert invalid.value.field == "image"


@pytest.mark.parametrize("name", ["key", "label"])
def test_reserved_names_in_metadata_raise(name: str) -> None:
    with (
        Lookalike(transport=rejecting([])) as client,
        pytest.raises(InvalidInputError, match=name) as invalid,
    ):
        client.add([NewImage(b"x", metadata={name: "other"})])
    assert invalid.value.field == "metadata"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "ftp://host", "http://", "", "http://a:b"])
@pytest.mark.parametrize("client", [Lookalike, AsyncLookalike])
def test_url_that_is_not_http_raises(url: str, client: type[Lookalike] | type[AsyncLookalike]) -> None:
    with pytest.raises(InvalidInputError) as invalid:
        client(url)
    assert invalid.value.field == "url"


def test_import_needs_neither_pillow_nor_the_service() -> None:
    script = "import sys, lookalike_client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "httpx" in loaded
    assert not loaded & {"PIL", "app", "models", "numpy", "torch"}
