"""Request bodies with `Content-Encoding`: gzip is read within the limits, other encodings return 415."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from app.api.middleware.content_encoding import CHUNK_BYTES, GzipBody
from app.errors import UnreadableBodyError
from app.main import create_app
from app.settings import Settings
from tests.api.job_helpers import sample_images, wait_until_ended
from tests.api.server import serve
from tests.api.test_index import add_images, random_image
from tests.conftest import open_with_fake
from tests.ingest.archives import tarred, zipped

FORM = "multipart/form-data; boundary=x"
MAX_REQUEST_BYTES = 300_000


def form(field: str, data: bytes) -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a"\r\n\r\n'
    return head.encode() + data + b"\r\n--x--\r\n"


def headers(kind: str, encoding: str = "gzip") -> dict[str, str]:
    return {"Content-Type": kind, "Content-Encoding": encoding}


@pytest.fixture
def small(settings: Settings) -> Iterator[TestClient]:
    """A client of a service with a small limit of the request's size."""
    limited = settings.model_copy(update={"max_request_bytes": MAX_REQUEST_BYTES, "max_archive_bytes": 400_000})
    with TestClient(create_app(limited, open_with_fake), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity, gzip"])
def test_gzip_bodies_are_read(client: TestClient, encoding: str) -> None:
    added = client.post(
        "/index", content=gzip.compress(form("images", random_image(1))), headers=headers(FORM, encoding)
    )
    assert added.json()["items"][0]["status"] == "created"
    searched = client.post(
        "/search", content=gzip.compress(form("image", random_image(1))), headers=headers(FORM, encoding)
    )
    assert searched.json()["results"][0]["distance"] == 0
    patch = gzip.compress(json.dumps({"label": "boots"}).encode())
    patched = client.patch("/images/1", content=patch, headers=headers("application/json", encoding))
    assert patched.json()["label"] == "boots"


def test_gzip_body_in_chunks_is_read(client: TestClient) -> None:
    body = gzip.compress(form("images", random_image(1)))
    chunks = (body[at : at + 7] for at in range(0, len(body), 7))
    added = client.post("/index", content=chunks, headers=headers(FORM))
    assert added.json()["items"][0]["status"] == "created"


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_gzip_archive_is_unpacked_to_the_archive(
    client: TestClient, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    data = pack(sample_images(3))
    answer = client.post("/jobs", content=gzip.compress(data), headers=headers("application/octet-stream"))
    assert answer.status_code == 202, answer.text
    now = wait_until_ended(client, answer.json()["id"])
    assert (now["created"], now["size_bytes"]) == (3, len(data))


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip, br", "nonsense"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/search"), ("POST", "/jobs"), ("PATCH", "/images/1")])
def test_other_encodings_return_415(client: TestClient, encoding: str, method: str, path: str) -> None:
    answer = client.request(method, path, content=b"x", headers=headers("application/json", encoding))
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert encoding.split(",", maxsplit=1)[0] in answer.json()["detail"]
    assert answer.headers["accept-encoding"] == "gzip"


def test_encoding_of_no_body_is_ignored(client: TestClient) -> None:
    for encoding in ("gzip", "br", "identity", ""):
        assert client.get("/stats", headers={"Content-Encoding": encoding}).status_code == 200


WHOLE = gzip.compress(form("images", random_image(1)))
BROKEN = {
    "not gzip": form("images", random_image(1)),
    "cut": WHOLE[:-20],
    "without its checksum": WHOLE[:-8],
    "a wrong checksum": WHOLE[:-8] + bytes(4) + WHOLE[-4:],
    "something behind it": WHOLE + b"more",
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_gzip_returns_400(client: TestClient, case: str) -> None:
    for path, kind in (("/index", FORM), ("/jobs", "application/zip")):
        answer = client.post(path, content=BROKEN[case], headers=headers(kind))
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), answer.text
        assert "gzip" in answer.json()["detail"]
    patch = client.patch("/images/1", content=BROKEN[case], headers=headers("application/json"))
    assert patch.status_code == 400
    assert client.get("/stats").json()["images"] == 0
    assert client.get("/jobs").json()["items"] == []


def test_limits_apply_to_the_decompressed_body(small: TestClient) -> None:
    add_images(small, random_image(1))
    bomb = gzip.compress(form("images", bytes(50_000_000)))
    assert len(bomb) < MAX_REQUEST_BYTES
    for path in ("/index", "/search"):
        answer = small.post(path, content=bomb, headers=headers(FORM))
        assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
    text = gzip.compress(b'{"label": "' + b" " * 20_000_000 + b'"}')
    assert small.patch("/images/1", content=text, headers=headers("application/json")).status_code == 413
    archive = small.post("/jobs", content=gzip.compress(bytes(20_000_000)), headers=headers("application/zip"))
    assert archive.status_code == 413
    assert small.get("/stats").json()["images"] == 1


def test_gzip_bodies_are_read_by_a_real_server(settings: Settings) -> None:
    body = gzip.compress(form("images", random_image(1)))
    head = f"POST /index HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {FORM}\r\nContent-Encoding: gzip\r\n"
    with serve(settings) as server:
        status, answer = server.request(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert (status, b'"created"' in answer) == (201, True)
        with closing(server.connect()) as connection:
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body)
            connection.sendall(b"\r\n0\r\n\r\n")
            assert b'"unchanged"' in b"".join(iter(lambda: connection.recv(65_536), b""))


def read_all(body: bytes, sizes: int) -> tuple[bytes, int]:
    """Return the decompressed body of a request that arrives in parts of a size, and its longest part."""

    async def read() -> list[bytes]:
        parts = [body[at : at + sizes] for at in range(0, len(body), sizes)] or [b""]
        messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": number < len(parts)}
            for number, part in enumerate(parts, 1)
        ]
        arriving = iter(messages)

        async def receive() -> Message:
            return next(arriving)

        reader, found = GzipBody(receive), list[bytes]()
        while True:
            message = await reader.receive()
            found.append(message["body"])
            if not message["more_body"]:
                return found

    parts = asyncio.run(read())
    return b"".join(parts), max(map(len, parts))


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=3), st.integers(1, 500), st.integers(0, 9))
def test_any_body_is_read_however_it_arrives(members: list[bytes], sizes: int, level: int) -> None:
    compressed = b"".join(gzip.compress(member, level) for member in members)
    assert read_all(compressed, sizes)[0] == b"".join(members)
    assert read_all(compressed + bytes(10), sizes)[0] == b"".join(members)


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_any_cut_body_raises(content: bytes, data: st.DataObject) -> None:
    compressed = gzip.compress(content)
    cut = data.draw(st.integers(0, len(compressed) - 1))
    with pytest.raises(UnreadableBodyError):
        read_all(compressed[:cut], 100)


def test_long_output_of_a_short_body_is_returned_in_bounded_parts() -> None:
    content = bytes(5_000_000)
    found, longest = read_all(gzip.compress(content), 1_000_000)
    assert found == content
    assert longest <= CHUNK_BYTES
