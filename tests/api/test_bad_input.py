"""Invalid requests return a 4xx problem with the invalid field, and change nothing."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import make_url

from app.main import create_app
from app.settings import Settings
from tests.api.test_index import INVALID_IMAGE, add_images, random_image
from tests.catalogue.postgres import connect
from tests.conftest import open_with_fake
from tests.images import encoded, gradient
from tests.malicious_images import png

MAX_IMAGE_BYTES = 40_000
MAX_REQUEST_BYTES = 300_000
BOUNDARY = "multipart/form-data; boundary=x"


@pytest.fixture(scope="module")
def shared(postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a catalogue with one image, which no test changes."""
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE bad_input TEMPLATE {template}")
        settings = Settings(
            data_dir=tmp_path_factory.mktemp("bad_input"),
            database_url=make_url(postgres_url).set(database="bad_input").render_as_string(hide_password=False),
            demo="off",
            auth="off",
            max_image_bytes=MAX_IMAGE_BYTES,
            max_request_bytes=MAX_REQUEST_BYTES,
            max_images_per_request=20,
            _env_file=None,
        )
        with TestClient(create_app(settings, open_with_fake), raise_server_exceptions=False) as client:
            add_images(client, random_image(0), metadata=[{"key": "there", "label": "boots", "price": 3}])
            client.get("/readyz")
            yield client
        connection.execute("DROP DATABASE bad_input WITH (FORCE)")


@pytest.fixture
def untouched(shared: TestClient) -> Iterator[TestClient]:
    before = shared.get("/images").json(), shared.get("/stats").json()
    yield shared
    assert (shared.get("/images").json(), shared.get("/stats").json()) == before


BY_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    422: "invalid_request",
    500: "internal_error",
}


def expect_problem(
    answer: Response, status: int, field: str | None = None, reason: str = "", code: str | None = None
) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "code", "detail", "errors"}
    assert problem["status"] == status
    assert problem["title"]
    assert problem["code"] == (code or BY_STATUS[status])
    assert reason.lower() in problem["detail"].lower()
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]], problem
        assert all(error["reason"] for error in problem["errors"])
    assert "Traceback" not in answer.text


PICTURES = {
    "empty": (b"", 422, "image_empty"),
    "text": (INVALID_IMAGE, 422, "image_format_unsupported"),
    "script": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "image_format_unsupported"),
    "truncated": (encoded(gradient(), "PNG")[:-40], 422, "image_damaged"),
    "bomb": (png(10_000, 5_001, 8, 2, bytes(100)), 413, "image_too_many_pixels"),
    "too many bytes": (encoded(gradient(), "BMP") + bytes(MAX_IMAGE_BYTES), 413, "image_too_large"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_search_with_an_invalid_image_returns_its_error_code(untouched: TestClient, case: str) -> None:
    data, status, code = PICTURES[case]
    expect_problem(untouched.post("/search", files={"image": ("x.png", data)}), status, "image", code=code)


def test_invalid_images_do_not_affect_the_others_of_a_request(client: TestClient) -> None:
    bad = {data: code for case, (data, _, code) in PICTURES.items() if case != "too many bytes"}
    items = add_images(client, random_image(1), *bad, random_image(2))
    assert [item["error_code"] for item in items] == [None, *bad.values(), None]
    assert [item["status"] for item in items] == ["created", *["rejected"] * len(bad), "created"]
    assert all(item["error"] for item in items[1:-1])
    assert client.get("/stats").json()["images"] == 2


PARAMETERS: tuple[tuple[dict[str, str], str], ...] = (
    ({"k": "0"}, "k"),
    ({"k": "-1"}, "k"),
    ({"k": "1001"}, "k"),
    ({"k": "abc"}, "k"),
    ({"k": ""}, "k"),
    ({"k": "1e3"}, "k"),
    ({"k": "9" * 5000}, "k"),
    ({"mode": "foo"}, "mode"),
    ({"mode": "HDS"}, "mode"),
    ({"pool": "0"}, "pool"),
    ({"pool": "1000001"}, "pool"),
    ({"pool": "none"}, "pool"),
    ({"radius": "-1"}, "radius"),
    ({"radius": "4097"}, "radius"),
    ({"radius": "1.5"}, "radius"),
    ({"label": "x" * 513}, "label"),
    ({"label": "a\x00b"}, "label"),
)


@pytest.mark.parametrize(("parameters", "field"), PARAMETERS)
def test_search_with_an_invalid_parameter_returns_422(
    untouched: TestClient, parameters: dict[str, str], field: str
) -> None:
    expect_problem(untouched.post("/search", params=parameters, files={"image": random_image(1)}), 422, field)
    expect_problem(untouched.get("/images/1/similar", params=parameters), 422, field)


def test_all_invalid_parameters_are_listed(untouched: TestClient) -> None:
    answer = untouched.post("/search", params={"k": "0", "mode": "foo"})
    expect_problem(answer, 422, "k")
    assert {error["field"] for error in answer.json()["errors"]} == {"k", "mode", "image"}


def test_label_that_is_not_utf_8_matches_nothing(untouched: TestClient) -> None:
    answer = untouched.post("/search?label=%ff%ed%a0%80", files={"image": random_image(1)})
    assert (answer.status_code, answer.json()["results"]) == (200, [])


METADATA = {
    "not JSON": ("{", "metadata"),
    "null": ("null", "metadata"),
    "a number": ("17", "metadata"),
    "not objects": ("[1]", "metadata"),
    "too few": ("[]", "0 entries for 1 images"),
    "too many": ("[{}, {}]", "2 entries for 1 images"),
    "NaN": ('[{"price": NaN}]', "NaN"),
    "a number too large for a float": (f'[{{"price": {10**400}}}]', "too large"),
    "infinite": ('[{"price": -Infinity}]', "Infinity"),
    "too large a number": ('[{"price": 1e999}]', "finite"),
    "too long a number": ('[{"price": ' + "9" * 5000 + "}]", "metadata"),
    "key of another type": ('[{"key": 17}]', "key"),
    "empty key": ('[{"key": ""}]', "key"),
    "long key": (json.dumps([{"key": "k" * 513}]), "key"),
    "NUL in the key": (json.dumps([{"key": "a\x00"}]), "NUL"),
    "lone surrogate in the key": ('[{"key": "\\ud800"}]', "surrogate"),
    "label of another type": ('[{"label": ["boots"]}]', "label"),
    "long label": (json.dumps([{"label": "l" * 513}]), "label"),
    "NUL in the label": ('[{"label": "\\u0000"}]', "NUL"),
    "lone surrogate in the label": ('[{"label": "\\udfff"}]', "surrogate"),
    "NUL deep within": ('[{"a": [{"b": "\\u0000"}]}]', "NUL"),
    "NUL in a name": ('[{"a": {"\\u0000": 1}}]', "NUL"),
    "lone surrogate deep within": ('[{"a": [["\\ud83d"]]}]', "surrogate"),
    "deeper than an answer can be": ('[{"a": ' + "[" * 100 + "]" * 100 + "}]", "deep"),
    "deeper than the parser's limit": ("[" * 100_000, "metadata"),
}


@pytest.mark.parametrize("case", METADATA)
def test_index_with_invalid_metadata_returns_422(untouched: TestClient, case: str) -> None:
    text, reason = METADATA[case]
    answer = untouched.post("/index", files={"images": random_image(9)}, data={"metadata": text})
    expect_problem(answer, 422, "metadata", reason)


PATCHES: dict[str, tuple[Any, str]] = {
    "unknown fields": (b'{"key": "new"}', "key"),
    "lone surrogate in a name": (b'{"\\ud800": 1}', "body"),
    "lone surrogate in a name of the metadata": (b'{"metadata": {"\\ud800": 1}}', "metadata"),
    "not an object": (b"[]", "body"),
    "empty": (b"", "body"),
    "not JSON": (b"{", "1"),
    "label of another type": (b'{"label": 17}', "label"),
    "long label": (json.dumps({"label": "l" * 513}).encode(), "label"),
    "NUL in the label": (b'{"label": "\\u0000"}', "label"),
    "lone surrogate in the label": (b'{"label": "\\ud800"}', "label"),
    "metadata of another type": (b'{"metadata": []}', "metadata"),
    "NUL in the metadata": (b'{"metadata": {"a": "\\u0000"}}', "metadata"),
    "lone surrogate in the metadata": (b'{"metadata": {"a": ["\\ud800"]}}', "metadata"),
    "NaN": (b'{"metadata": {"a": NaN}}', "metadata"),
    "too large a number": (b'{"metadata": {"a": 1e999}}', "metadata"),
    "deeper than an answer can be": (b'{"metadata": {"a": ' + b"[" * 300 + b"]" * 300 + b"}}", "metadata"),
}


@pytest.mark.parametrize("case", PATCHES)
def test_patch_with_an_invalid_field_returns_422(untouched: TestClient, case: str) -> None:
    body, field = PATCHES[case]
    answer = untouched.patch("/images/1", content=body, headers={"Content-Type": "application/json"})
    expect_problem(answer, 422, field)


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"a": "\xff"}', b"[" * 100_000, b"9" * 5000])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", BOUNDARY, "nonsense"])
def test_patch_that_is_not_json_returns_400_or_422(untouched: TestClient, body: bytes, kind: str) -> None:
    answer = untouched.patch("/images/1", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    expect_problem(answer, answer.status_code)
    assert answer.json()["detail"]


@pytest.mark.parametrize("identifier", ["0", "-1", str(2**63), "9" * 5000, "text", "1.5", "%00", "1%2F2"])
@pytest.mark.parametrize("rest", ["", "/original", "/thumbnail", "/seen", "/similar"])
def test_invalid_id_returns_404_or_422(untouched: TestClient, identifier: str, rest: str) -> None:
    answer = untouched.get(f"/images/{identifier}{rest}")
    assert answer.status_code in (404, 422)
    expect_problem(answer, answer.status_code, "image_id" if answer.status_code == 422 else None)


@pytest.mark.parametrize("identifier", [2, 2**63 - 1])
def test_unknown_id_returns_404(untouched: TestClient, identifier: int) -> None:
    path = f"/images/{identifier}"
    for rest in ("", "/original", "/thumbnail", "/seen", "/similar"):
        expect_problem(untouched.get(path + rest), 404, reason=str(identifier))
    expect_problem(untouched.patch(path, json={"label": "x"}), 404)
    expect_problem(untouched.delete(path), 404)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"cursor": "x"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "-1"}, "cursor"),
        ({"cursor": "²"}, "cursor"),
        ({"cursor": str(2**63)}, "cursor"),
        ({"cursor": "1" * 65}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"label": "\x00"}, "label"),
    ],
)
def test_list_with_an_invalid_parameter_returns_422(
    untouched: TestClient, parameters: Mapping[str, str], field: str
) -> None:
    expect_problem(untouched.get("/images", params=parameters), 422, field)


@pytest.mark.parametrize("path", ["/search", "/index"])
def test_request_without_its_image_returns_422(untouched: TestClient, path: str) -> None:
    field = "image" if path == "/search" else "images"
    expect_problem(untouched.post(path), 422, field)
    expect_problem(untouched.post(path, data={"other": "field"}), 422, "other", field)
    expect_problem(untouched.post(path, data={field: "text where a file should be"}), 422)
    expect_problem(untouched.post(path, json={field: "x"}), 422, field)
    expect_problem(untouched.post(path, content=b"\xff\xfe", headers={"Content-Type": "text/plain"}), 422, field)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        (BOUNDARY, b"no boundary in here"),
        (BOUNDARY, b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc'),
        (BOUNDARY, b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n"),
        (
            f"{BOUNDARY}; charset=nonsense",
            b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--x--\r\n',
        ),
    ],
)
@pytest.mark.parametrize("path", ["/search", "/index"])
# Starlette leaves the file of an unfinished part to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function SpooledTemporaryFile")
def test_broken_form_returns_400_or_422(untouched: TestClient, path: str, kind: str, body: bytes) -> None:
    answer = untouched.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    expect_problem(answer, answer.status_code)
    assert answer.json()["detail"]


def test_metadata_over_the_field_limit_returns_400(client: TestClient) -> None:
    long = json.dumps([{"text": "x" * 1_100_000}])
    expect_problem(
        client.post("/index", files={"images": random_image(1)}, data={"metadata": long}), 400, reason="maximum"
    )
    assert client.get("/stats").json()["images"] == 0


def test_more_images_than_the_limit_return_400(untouched: TestClient) -> None:
    files = [("images", (str(number), INVALID_IMAGE)) for number in range(21)]
    expect_problem(untouched.post("/index", files=files), 400, reason="Maximum number of files is 20")
    expect_problem(untouched.post("/search", files=[("image", file) for _, file in files]), 400, reason="is 20")


@pytest.mark.parametrize("path", ["/search", "/index"])
def test_more_form_fields_than_the_limit_return_400(untouched: TestClient, path: str) -> None:
    fields = {f"field-{number}": "x" for number in range(21)}
    files = [("image", ("a", random_image(9))), ("images", ("a", random_image(9)))]
    expect_problem(untouched.post(path, data=fields, files=files), 400, reason="Maximum number of fields is 20")


def chunks(size: int) -> Iterator[bytes]:
    yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    yield from (bytes(10_000) for _ in range(size // 10_000))
    yield b"\r\n--x--\r\n"


@pytest.mark.parametrize("path", ["/search", "/index"])
def test_request_over_the_size_limit_returns_413(untouched: TestClient, path: str) -> None:
    declared = untouched.post(path, content=bytes(MAX_REQUEST_BYTES + 1), headers={"Content-Type": BOUNDARY})
    expect_problem(declared, 413, reason=f"{MAX_REQUEST_BYTES:,} bytes")
    counted = untouched.post(path, content=chunks(2 * MAX_REQUEST_BYTES), headers={"Content-Type": BOUNDARY})
    expect_problem(counted, 413, reason=f"{MAX_REQUEST_BYTES:,} bytes")
    patched = untouched.patch("/images/1", content=chunks(2 * MAX_REQUEST_BYTES))
    expect_problem(patched, 413)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/search"),
        ("GET", "/index"),
        ("DELETE", "/images"),
        ("PUT", "/images/1"),
        ("POST", "/images/1/original"),
        ("POST", "/healthz"),
        ("BREW", "/stats"),
    ],
)
def test_unsupported_method_returns_405_with_allow(untouched: TestClient, method: str, path: str) -> None:
    answer = untouched.request(method, path)
    expect_problem(answer, 405)
    assert answer.headers["allow"]


def test_allow_header_lists_all_methods_of_the_path(untouched: TestClient) -> None:
    assert untouched.put("/images/1").headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert untouched.get("/session").headers["allow"] == "DELETE, POST"


@pytest.mark.parametrize(
    "path", ["/nowhere", "/search/more", "/images/1/other", "/web/none.js", "/web/../main.py", "/web/%2e%2e/main.py"]
)
def test_unknown_path_returns_404(untouched: TestClient, path: str) -> None:
    expect_problem(untouched.get(path), 404)


@dataclass
class SecretError(Exception):
    """An exception whose message must not reach the client."""

    secret: str = "postgresql://user:password@host"  # noqa: S105 – a placeholder


def test_unexpected_exception_returns_500_without_its_message(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SecretError

    monkeypatch.setattr("app.catalogue.sorting.list_page", fail)
    answer = client.get("/images")
    expect_problem(answer, 500)
    assert "password" not in answer.text
