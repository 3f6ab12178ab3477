"""Examples that a search over HTTP cannot use are all named."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from tests.api.test_index import add_images, random_image
from tests.api.test_search import Truth, drawing, truth
from tests.api.test_search_examples import image
from tests.images import encoded

__all__ = ["truth"]


def errors(answer: Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == "invalid_request"
    found = {error["field"]: error["reason"] for error in problem["errors"]}
    assert all(f"{field}: {reason}" in problem["detail"] for field, reason in found.items())
    return found


def test_every_broken_upload_and_unknown_image_is_listed(truth: Truth) -> None:
    files: list[tuple[str, Any]] = [("image", (f"good {at}.png", image(at))) for at in range(6)]
    files.insert(2, ("image", ("words.png", b"no picture")))
    files += [("unlike_image", ("empty.jpg", b"")), ("like", (None, "999999")), ("unlike", (None, "no such key"))]
    found = errors(truth.client.post("/search", files=files))
    assert set(found) == {"image.2", "unlike_image.0", "like.0", "unlike.0"}
    assert found["image.2"].startswith('"words.png": ')
    assert "not in a supported image format" in found["image.2"]
    assert found["unlike_image.0"] == '"empty.jpg": The image file is empty. Send an image.'
    assert found["like.0"].startswith("there is no image 999999 in the catalogue")
    assert found["unlike.0"] == 'there is no image with the key "no such key" in the catalogue.'


@pytest.mark.parametrize("good", [None, 9])
def test_sixteen_uploads_that_are_all_or_nearly_all_broken_are_all_listed(truth: Truth, good: int | None) -> None:
    files = [("image", (f"broken {at}.jpg", b"no picture")) for at in range(16)]
    if good is not None:
        files[good] = ("image", ("good.png", image(good)))
    found = errors(truth.client.post("/search", files=files))
    assert set(found) == {f"image.{at}" for at in range(16) if at != good}
    assert all(found[f"image.{at}"].startswith(f'"broken {at}.jpg": ') for at in range(16) if at != good)


def test_only_broken_upload_has_its_own_code(truth: Truth) -> None:
    answer = truth.client.post("/search", files={"image": b"no picture"})
    assert (answer.status_code, answer.json()["code"]) == (422, "image_format_unsupported")
    assert answer.json()["errors"][0]["field"] == "image"


BODIES: dict[str, tuple[Any, str, str]] = {
    "contradiction": ({"like": ["key 3"], "unlike": ["key 3"]}, "unlike.0", "is the same image as like.0"),
    "nothing": ({}, "image", "is missing"),
    "only unlike": ({"unlike": ["key 3"]}, "image", "is missing"),
    "seventeen": ({"like": [f"key {at}" for at in range(17)]}, "like", "17 examples are given"),
    "weights": ({"like": ["key 1"], "weights": {"like": [1, 2]}}, "weights.like", "numbers: 2, images: 1"),
    "negative": ({"like": ["key 1"], "weights": {"like": [-1]}}, "weights.like.0", "-1.0 is not a weight"),
    "zeros": ({"like": ["key 1"], "weights": {"like": [0]}}, "weights", "are 0 for all images to be found"),
    "weights of another field": ({"like": ["key 1"], "weights": {"k": [1]}}, "weights.k", "'image'"),
    "text as a weight": ({"like": ["key 1"], "weights": {"like": ["x"]}}, "weights.like.0", "number"),
    "a list in a list": ({"like": [["key 1"]]}, "like.0", "is neither an id"),
    "true": ({"like": [True]}, "like.0", "is neither an id"),
    "half": ({"like": [1.5]}, "like.0", "is neither an id"),
    "text": ({"like": "key 1"}, "like", "list"),
    "misspelt": ({"likes": [1]}, "likes", "Did you mean `like`?"),
    "huge id": ({"like": [2**80]}, "like.0", "there is no image"),
    "NUL": ({"like": ["a\0b"]}, "like.0", "there is no image"),
    "a list": ([1], "body", "JSON object"),
    "long key": ({"like": ["x" * 5000]}, "like.0", "there is no image with the key"),
}


@pytest.mark.parametrize("case", BODIES)
def test_invalid_json_body_returns_422(truth: Truth, case: str) -> None:
    body, field, reason = BODIES[case]
    found = errors(truth.client.post("/search", json=body))
    assert any(name.startswith(field) and reason in why for name, why in found.items()), found


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"like": [1], "like": [2]}', b'{"like": [NaN]}', b'{"like": ["\\ud800"]}', b"\xff", b"[" * 9999],
)
def test_malformed_json_returns_422(truth: Truth, body: bytes) -> None:
    answer = truth.client.post("/search", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert errors(answer)


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_weight_that_is_not_finite_returns_422(truth: Truth, weight: str) -> None:
    body = f'{{"like": ["key 1", "key 2"], "weights": {{"like": [1, {weight}]}}}}'.encode()
    headers = {"Content-Type": "application/json"}
    assert "weights.like.1" in errors(truth.client.post("/search", content=body, headers=headers))
    form = {"like": ["key 1", "key 2"], "weights": f'{{"like": [1, {weight}]}}'}
    assert "weights.like.1" in errors(truth.client.post("/search", data=form))


@pytest.mark.parametrize("weights", [" ", "{", "[1]", "1", '{"like": [1], "like": [2]}', '{"like": 1}', '{"k": [1]}'])
def test_invalid_weights_in_a_form_return_422(truth: Truth, weights: str) -> None:
    answer = truth.client.post("/search", data={"like": "key 1", "weights": weights})
    assert all(field.startswith("weights") for field in errors(answer))


def test_large_json_body_returns_413(truth: Truth) -> None:
    answer = truth.client.post("/search", json={"like": ["x" * 70_000]})
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("text", ["", "key:", " ", "0", "-1", "9" * 30, "²", "\0"])
def test_reference_of_no_image_returns_422(truth: Truth, text: str) -> None:
    assert set(errors(truth.client.post("/search", params={"like": ["key 1", text]}))) == {"like.1"}


def test_crop_of_several_uploads_returns_422(truth: Truth) -> None:
    answer = truth.client.post(
        "/search", params={"crop": "0,0,8,8"}, files=[("image", image(1)), ("unlike_image", image(2))]
    )
    assert "is a part of one upload, and 2 are given" in errors(answer)["crop"]
    one = truth.client.post("/search", params={"crop": "0,0,8,8", "like": "key 3"}, files={"image": image(1)})
    assert one.status_code == 200


def test_examples_that_cancel_each_other_out_return_a_sentence(client: TestClient) -> None:
    """F7 of the fake network is the image's pixels: those of a black one are zeros."""
    black = encoded(drawing(1).point(lambda _: 0), "PNG")
    files = [("image", black), ("image", encoded(drawing(1).point(lambda _: 0), "BMP"))]
    assert "cancel each other out" in errors(client.post("/search", files=files))["like"]


@pytest.mark.parametrize(
    ("media_type", "content", "code", "field"),
    [
        ("image/jpeg", b"no image", "image_format_unsupported", "image"),
        ("image/jpeg", b"", "image_empty", "image"),
        ("text/plain", b"no image", "invalid_request", "image"),
        ("application/x-www-form-urlencoded", b"\xff\xd8\xff", "invalid_request", None),
        ("", b"\xff\xd8\xff", "invalid_request", "image"),
    ],
)
def test_bodies_that_are_no_image_return_422(
    truth: Truth, media_type: str, content: bytes, code: str, field: str | None
) -> None:
    answer = truth.client.post("/search", content=content, headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert field is None or field in {one["field"] for one in answer.json()["errors"]}


def test_number_that_is_a_key_is_explained(client: TestClient) -> None:
    add_images(client, random_image(2), metadata=[{"key": "17"}])
    reason = errors(client.post("/search", params={"like": "17"}))["like.0"]
    assert "write key:17" in reason
