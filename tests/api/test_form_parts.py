"""Forms as clients send them: parts without file names, metadata as a file or as a single object."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from app.settings import Settings
from tests.api.test_index import add_images, random_image

DISPOSITIONS = {
    "a file name": '; filename="a.png"',
    "an empty file name": '; filename=""',
    "no file name": "",
    "only filename*": "; filename*=utf-8''%e2%82%ac.png",
    "both": "; filename=\"a.png\"; filename*=utf-8''%e2%82%ac.png",
}
# Not UTF-8, and larger than a text field may be.
LARGE = random_image(1) + b"\xff" * 2_000_000


def post(client: TestClient, path: str, *parts: tuple[str, bytes]) -> Response:
    """Post a form whose parts are a `Content-Disposition` and a body each."""
    body = b"".join(
        b"--x\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return client.post(path, content=body + b"--x--\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"})


@pytest.mark.parametrize("case", DISPOSITIONS)
def test_image_is_read_whatever_its_file_name(client: TestClient, case: str) -> None:
    rest = DISPOSITIONS[case]
    added = post(client, "/index", (f'name="images"{rest}', random_image(1)), (f'name="images"{rest}', LARGE))
    assert [item["status"] for item in added.json()["items"]] == ["created", "created"]
    searched = post(client, "/search", (f'name="image"{rest}', random_image(1)))
    assert searched.json()["results"][0]["distance"] == 0
    batch = post(client, "/search/batch", (f'name="images"{rest}', random_image(1)), (f"name=images{rest}", LARGE))
    assert [item["response"]["results"][0]["distance"] for item in batch.json()["items"]] == [0, 0]


def test_text_instead_of_an_image_returns_422(client: TestClient) -> None:
    urlencoded = client.post("/search", data={"image": "https://example.com/a.jpg"})
    assert (urlencoded.status_code, urlencoded.json()["errors"][0]["field"]) == (422, "image")
    assert "is text and not a file" in urlencoded.json()["detail"]
    assert "str" not in urlencoded.json()["detail"].split()
    for path, field in (("/search", "image"), ("/search/batch", "images"), ("/index", "images")):
        for text in ("boot.jpg", "https://example.com/käse.jpg", "{}", "a" * 4096):
            answer = post(client, path, (f'name="{field}"', text.encode()[:4096]))
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
            assert f"curl -F {field}=@photo.jpg" in answer.json()["detail"]
    named = post(client, "/search", ('name="image"; filename="a.jpg"', b"boot.jpg"))
    assert (named.status_code, named.json()["code"]) == (422, "image_format_unsupported")


def add(client: TestClient, metadata: Any, *, images: int = 1, as_file: bool = False) -> Response:
    files: list[tuple[str, Any]] = [("images", ("a.png", random_image(number))) for number in range(images)]
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    files.append(("metadata", ("m.json" if as_file else None, text)))
    return client.post("/index", files=files)


def stored(client: TestClient, answer: Response) -> list[tuple[str, str | None, dict[str, Any]]]:
    assert answer.status_code == 201, answer.text
    images = [client.get(f"/images/{item['id']}").json() for item in answer.json()["items"]]
    return [(image["key"], image["label"], image["metadata"]) for image in images]


@pytest.mark.parametrize("as_file", [True, False])
def test_metadata_is_read_from_text_or_file(client: TestClient, as_file: bool) -> None:
    about = {"key": "one", "label": "boots", "price": 3, "name": "käse"}
    expected = ("one", "boots", {"price": 3, "name": "käse"})
    assert stored(client, add(client, about, as_file=as_file)) == [expected]
    assert stored(client, add(client, [about, {}], images=2, as_file=as_file))[0] == expected
    marked = b"\xef\xbb\xbf" + json.dumps(about).encode()
    assert stored(client, add(client, marked, as_file=True)) == [expected]


def test_metadata_in_an_object_is_read_as_a_patch_takes_it(client: TestClient) -> None:
    nested = {"key": "one", "label": "boots", "metadata": {"price": 3, "metadata": {"a": 1}}, "size": 4}
    expected = [("one", "boots", {"price": 3, "metadata": {"a": 1}, "size": 4})]
    assert stored(client, add(client, nested)) == expected
    assert stored(client, add(client, [nested])) == expected
    shown = client.get("/images/1").json()
    patch = {name: shown[name] for name in ("label", "metadata")}
    assert client.patch("/images/1", json=patch).json()["metadata"] == shown["metadata"]
    again = add(client, {"key": shown["key"], **patch}).json()["items"][0]
    assert again["status"] == "unchanged"


INVALID = {
    "an object for two images": ({"label": "boots"}, 2, "list of 2 objects"),
    "a number": (17, 1, "is not a list"),
    "a list of numbers": ([1], 1, "0: is not an object"),
    "a field in both places": ({"metadata": {"price": 1}, "price": 2}, 1, '"price" is given both'),
    "metadata that is no object": ({"metadata": [1]}, 1, "metadata: Input should be a JSON object"),
    "metadata that is null": ({"metadata": None}, 1, "metadata: Input should be a JSON object"),
    "not UTF-8": (b'{"a": "\xff"}', 1, "UTF-8"),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_metadata_returns_422_without_python_type_names(client: TestClient, case: str) -> None:
    metadata, images, reason = INVALID[case]
    answer = add(client, metadata, images=images, as_file=True)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "metadata")
    assert reason in answer.json()["detail"]
    for word in ("dict", "str", "instance", "UploadFile", "class", "None"):
        assert word not in answer.json()["detail"].split()
    assert client.get("/stats").json()["images"] == 0


def test_metadata_file_over_the_field_limit_returns_422(client: TestClient, settings: Settings) -> None:
    answer = add(client, b" " * (settings.max_form_field_bytes + 1), as_file=True)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "metadata")
    assert "1,048,576 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"[]", b"3", b'"x"', b'{"metadata": []}'])
def test_patch_with_another_type_returns_a_reason_without_python_type_names(client: TestClient, body: bytes) -> None:
    add_images(client, random_image(1))
    answer = client.patch("/images/1", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["errors"][0]["reason"] == "Input should be a JSON object"
