"""Duplicates over HTTP: copies of pictures that were scaled, recompressed and saved in other formats."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.api.routes import duplicates
from app.bootstrap import Service, build_service_with_encoder
from app.main import create_app
from app.settings import Settings
from models.checkpoint.similarity import AnchoredCurve, Similarity
from tests.api.test_index import add_images
from tests.conftest import opened_database
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.images import encoded

COUNT = 8
CURVE = AnchoredCurve(((0.5, 0.95), (1.5, 0.5), (3.0, 0.1)))
SIMILARITY = Similarity("no labels", CURVE, CURVE, copies=0.5, near=1.0)

Copy = Callable[[Image.Image], bytes]


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(factor * image.width), round(factor * image.height)), Image.Resampling.LANCZOS)


COPIES: dict[str, Copy] = {
    "half, JPEG 50": lambda image: encoded(scaled(image, 0.5), quality=50),
    "JPEG 50": lambda image: encoded(image, quality=50),
    "WebP": lambda image: encoded(scaled(image, 0.75), "WEBP", quality=75),
    "rotated by EXIF": lambda image: encoded(image, quality=90, orientation=6),
    "enlarged PNG": lambda image: encoded(scaled(image, 1.5), "PNG"),
}


def picture(number: int) -> Image.Image:
    """A soft random picture of 400 × 300 pixels."""
    colours = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(colours).resize((400, 300), Image.Resampling.BICUBIC)


def other_article(image: Image.Image) -> Image.Image:
    """The same picture with a different detail, like two articles on one background: nearly equal in F7."""
    changed = image.copy()
    changed.paste((255, 40, 40), (180, 130, 220, 170))
    return changed


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """HTTP client of the application with a calibrated fake network."""

    @contextmanager
    def opened(settings: Settings) -> Iterator[Service]:
        network = replace(FAKE_NETWORK, similarity=SIMILARITY)
        with (
            closing(opened_database(settings)) as database,
            build_service_with_encoder(settings, database, FakeEncoder(), network, FAKE_CHECKPOINT) as service,
        ):
            yield service

    with TestClient(create_app(settings, opened), raise_server_exceptions=False) as client:
        yield client


def add(client: TestClient, *pictures: bytes) -> list[int]:
    return [int(item["id"]) for item in add_images(client, *pictures)]


def answered(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def groups(client: TestClient, **parameters: Any) -> list[list[int]]:
    """Return the ids of all groups on all pages: that of the group's image, then those of its duplicates."""
    found, cursor = list[list[int]](), ""
    while cursor is not None:
        page = answered(client, "/duplicates", **parameters, **({"cursor": cursor} if cursor else {}))
        found += [[group["image"]["id"], *sorted(one["id"] for one in group["duplicates"])] for group in page["groups"]]
        cursor = page["next_cursor"]
    return found


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_every_copy_is_in_the_group_of_its_picture(client: TestClient, limit: int) -> None:
    pictures = [picture(number) for number in range(COUNT)]
    originals = add(client, *(encoded(image, "PNG") for image in pictures))
    expected = {original: [original] for original in originals}
    for copy in COPIES.values():
        for original, added in zip(originals, add(client, *(copy(image) for image in pictures)), strict=True):
            expected[original].append(added)
    assert groups(client, limit=limit) == list(expected.values())
    assert groups(client, limit=limit, kind="near") == []


def test_page_ends_when_its_time_is_over(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(number) for number in range(2)]
    ids = add(client, *(encoded(image, "PNG") for image in pictures), *(encoded(image) for image in pictures))
    monkeypatch.setattr(duplicates, "PAGE_SECONDS", 0.0)
    assert answered(client, "/duplicates")["next_cursor"] == str(ids[0])
    assert groups(client) == [[ids[0], ids[2]], [ids[1], ids[3]]]


def test_other_article_on_the_same_background_is_a_near_duplicate_only(client: TestClient) -> None:
    image = picture(0)
    one, copy, other = add(client, encoded(image), encoded(scaled(image, 0.5)), encoded(other_article(image)))
    assert groups(client) == [[one, copy]]
    assert groups(client, kind="near") == [[one, other]]
    for image_id, exact, near in ((one, [copy], [other]), (copy, [one], [other]), (other, [], [one])):
        path = f"/images/{image_id}/duplicates"
        assert [match["id"] for match in answered(client, path)] == exact
        assert [match["id"] for match in answered(client, path, kind="near")] == near


def test_response_has_the_kind_the_distance_and_similarities(client: TestClient) -> None:
    add(client, encoded(picture(0)), encoded(picture(0), "PNG"))
    page = answered(client, "/duplicates")
    assert (page["kind"], page["max_distance"]) == ("exact", 0.5)
    (group,) = page["groups"]
    assert group["complete"]
    (match,) = group["duplicates"]
    assert 0 < match["distance"] <= 0.5
    assert match["similarity"] == pytest.approx(CURVE(match["distance"]), abs=1e-6)
    assert match["similarity_band"] == "very similar"
    assert answered(client, "/duplicates", kind="near")["max_distance"] == 1.0
    assert answered(client, "/duplicates", max_distance=0)["groups"] == []


def chain(client: TestClient, length: int) -> list[int]:
    """Add pictures each of which is a little brighter than the one before; the ends are not the same picture."""
    image = picture(3).point(lambda value: value // 2)
    brighter = (image.point(lambda value, step=step: value + 5 * step) for step in range(length))
    return add(client, *(encoded(one, "PNG") for one in brighter))


def test_chain_is_one_group_until_an_image_between_is_deleted(client: TestClient) -> None:
    ids = chain(client, 7)
    ends = [match["id"] for match in answered(client, f"/images/{ids[0]}/duplicates")]
    assert set(ends) < set(ids[1:])
    assert groups(client) == [ids]
    for image_id in ids[1:5]:
        assert client.delete(f"/images/{image_id}").status_code == 204
    assert groups(client) == [ids[5:]]
    assert client.get(f"/images/{ids[1]}/duplicates").status_code == 404


def files(settings: Settings, name: str) -> list[Path]:
    return [path for path in (settings.data_dir / "pictures" / name).rglob("*") if path.is_file()]


@pytest.mark.parametrize("side", [320, 800])
def test_copies_are_found_with_thumbnails_of_another_size(client: TestClient, settings: Settings, side: int) -> None:
    """Thumbnails of an earlier version, smaller or larger, until they are renewed."""
    large = scaled(picture(0), 2)
    ids = add(client, encoded(large, "PNG"), COPIES["JPEG 50"](large))
    for path, image in zip(files(settings, "thumbnails"), (large, large), strict=True):
        path.write_bytes(encoded(scaled(image, side / image.width)))
    assert groups(client) == [ids]


def test_copies_are_found_without_thumbnails(client: TestClient, settings: Settings) -> None:
    ids = add(client, encoded(picture(0)), encoded(scaled(picture(0), 0.5)), encoded(picture(0), "WEBP"))
    thumbnails = files(settings, "thumbnails")
    assert len(thumbnails) == len(ids)
    thumbnails[0].unlink()
    thumbnails[1].write_bytes(b"damaged")
    assert groups(client) == [ids]


def test_images_without_files_are_no_copies_of_others(client: TestClient, settings: Settings) -> None:
    one, copy, other = add(client, encoded(picture(0)), encoded(picture(0), "PNG"), encoded(scaled(picture(0), 0.5)))
    lost = client.get(f"/images/{copy}/original").headers["etag"].strip('"')
    for path in (*files(settings, "thumbnails"), *files(settings, "originals")):
        if lost in path.name:
            path.unlink()
    assert groups(client) == [[one, other]]


def test_same_file_under_two_keys_is_an_exact_duplicate(client: TestClient, settings: Settings) -> None:
    data = encoded(picture(0))
    items = add_images(client, data, data, metadata=[{"key": "a"}, {"key": "b"}])
    for path in files(settings, "thumbnails"):
        path.unlink()
    assert groups(client) == [[item["id"] for item in items]]


def test_unknown_kind_and_cursor_return_422(client: TestClient) -> None:
    for parameters in ({"kind": "similar"}, {"cursor": "x"}):
        refused = client.get("/duplicates", params=parameters)
        assert refused.status_code == 422
        assert next(iter(parameters)) in refused.text


def test_network_without_calibration_needs_a_distance(settings: Settings, service: Service) -> None:
    with TestClient(create_app(settings, lambda _: _opened(service)), raise_server_exceptions=False) as client:
        (one, _) = add(client, encoded(picture(0)), encoded(picture(0), "PNG"))
        for path in ("/duplicates", f"/images/{one}/duplicates"):
            refused = client.get(path)
            assert refused.status_code == 422
            assert "not calibrated" in refused.json()["detail"]
        assert len(groups(client, max_distance=0.5)) == 1


@contextmanager
def _opened(service: Service) -> Iterator[Service]:
    yield service
