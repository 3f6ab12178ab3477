"""Images of the catalogue over HTTP: list, read, update, delete."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.catalogue.storage.local import LocalStorage, content_hash
from app.search.decode.image import DecodeLimits, decode
from app.settings import Settings
from tests.api.test_index import add_images, random_image
from tests.fakes import FAKE_NETWORK
from tests.images import CORNERS, MEDIA_TYPES, corners, encoded, every_format


def filled(client: TestClient, count: int) -> list[int]:
    about = [{"key": f"key {number}", "label": "even" if number % 2 == 0 else "odd"} for number in range(count)]
    return [
        item["id"] for item in add_images(client, *(random_image(number) for number in range(count)), metadata=about)
    ]


def pages(client: TestClient, **parameters: Any) -> list[list[int]]:
    """Return the ids of all pages, following the cursor."""
    found: list[list[int]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/images", params={**parameters, **cursor}).json()
        found.append([item["id"] for item in page["items"]])
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def test_get_image_returns_its_record(client: TestClient) -> None:
    data = encoded(corners(40, 30), "JPEG", orientation=6)
    (item,) = add_images(client, data, metadata=[{"key": "one", "label": "boots", "price": 3}])
    found = client.get(f"/images/{item['id']}").json()
    created, updated = found.pop("created_at"), found.pop("updated_at")
    assert created == updated
    assert found == {
        "id": item["id"],
        "key": "one",
        "label": "boots",
        "metadata": {"price": 3},
        "media_type": "image/jpeg",
        "width": 40,
        "height": 30,
        "size_bytes": len(data),
        "image_url": f"/images/{item['id']}/original",
        "thumbnail_url": f"/images/{item['id']}/thumbnail",
    }


def test_cursor_pages_cover_the_catalogue_in_order(client: TestClient) -> None:
    ids = filled(client, 7)
    assert pages(client, limit=3) == [ids[:3], ids[3:6], ids[6:]]
    assert pages(client, limit=7) == [ids], "a full last page has no next page"
    assert pages(client) == [ids]
    assert pages(client, limit=2, label="odd") == [ids[1:5:2], ids[5::2]]
    assert pages(client, label="unknown") == [[]]
    assert pages(client, limit=2, filter='{"label": {"$ne": "even"}}') == [ids[1:5:2], ids[5::2]]


def test_next_page_is_correct_after_deletions_and_additions(client: TestClient) -> None:
    ids = filled(client, 5)
    cursor = client.get("/images", params={"limit": 2}).json()["next_cursor"]
    client.delete(f"/images/{ids[1]}")
    client.delete(f"/images/{ids[2]}")
    (new,) = add_images(client, random_image(99))
    page = client.get("/images", params={"limit": 9, "cursor": cursor}).json()
    assert [item["id"] for item in page["items"]] == [*ids[3:], new["id"]]


def test_empty_catalogue_has_one_empty_page(client: TestClient) -> None:
    assert client.get("/images").json() == {"items": [], "next_cursor": None, "total": 0, "warnings": []}


def test_patch_keeps_omitted_fields(client: TestClient) -> None:
    (item,) = add_images(client, random_image(1), metadata=[{"label": "boots", "price": 3, "size": 42}])
    path = f"/images/{item['id']}"
    before = client.get(path).json()
    assert client.patch(path, json={}).json()["metadata"] == {"price": 3, "size": 42}
    assert client.patch(path, json={"label": "shoes"}).json()["metadata"] == {"price": 3, "size": 42}
    described = client.patch(path, json={"metadata": {"price": None, "colour": "red"}}).json()
    assert (described["label"], described["metadata"]) == ("shoes", {"size": 42, "colour": "red"})
    assert described["updated_at"] > before["updated_at"]
    assert client.patch(path, json={"label": None}).json()["label"] is None
    assert client.get(path).json()["metadata"] == {"size": 42, "colour": "red"}


def test_concurrent_patches_lose_no_fields(client: TestClient) -> None:
    (item,) = add_images(client, random_image(1))
    path = f"/images/{item['id']}"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: client.patch(path, json={"metadata": {f"field {n}": n}}), range(8)))
    assert client.get(path).json()["metadata"] == {f"field {number}": number for number in range(8)}


def test_deleted_image_returns_404_and_its_file_is_removed(client: TestClient, settings: Settings) -> None:
    ids = filled(client, 3)
    path = f"/images/{ids[1]}"
    answer = client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    for address in (path, f"{path}/original", f"{path}/thumbnail", f"{path}/seen", f"{path}/similar"):
        assert client.get(address).status_code == 404
    assert client.delete(path).status_code == 404
    assert client.patch(path, json={"label": "x"}).status_code == 404
    assert pages(client) == [[ids[0], ids[2]]]
    found = client.post("/search", files={"image": random_image(1)}).json()
    assert {match["id"] for match in found["results"]} == {ids[0], ids[2]}
    kept = {path.name for path in (settings.data_dir / "pictures" / "originals").rglob("*") if path.is_file()}
    assert kept == {content_hash(random_image(0)), content_hash(random_image(2))}


def test_original_is_returned_byte_for_byte_with_its_detected_media_type(client: TestClient) -> None:
    formats = every_format(corners())
    # The declared name and media type are ignored.
    files = [("images", ("page.html", data, "text/html")) for data in formats.values()]
    items = client.post("/index", files=files).json()["items"]
    for (kind, data), item in zip(formats.items(), items, strict=True):
        original = client.get(f"/images/{item['id']}/original")
        assert original.content == data, kind
        assert original.headers["content-type"] == MEDIA_TYPES[kind]
        assert original.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("which", ["original", "thumbnail", "seen"])
def test_matching_etag_returns_304_until_the_image_changes(client: TestClient, which: str) -> None:
    (item,) = add_images(client, random_image(1), metadata=[{"key": "one"}])
    address = f"/images/{item['id']}/{which}"
    first = client.get(address)
    seen = {"If-None-Match": first.headers["etag"]}
    again = client.get(address, headers=seen)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    add_images(client, random_image(2), metadata=[{"key": "one"}])
    changed = client.get(address, headers=seen)
    assert changed.status_code == 200
    assert changed.content != first.content
    assert changed.headers["etag"] != first.headers["etag"]
    assert "no-cache" in changed.headers["cache-control"]


@pytest.mark.parametrize(("kind", "size", "expected"), [("JPEG", (80, 60), (80, 60)), ("WEBP", (800, 600), (320, 240))])
def test_thumbnail_is_upright_small_and_without_exif(
    client: TestClient, kind: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    stored = [encoded(corners(*size), kind, orientation=orientation, quality=95) for orientation in (1, 3, 6, 8)]
    for item in add_images(client, *stored):
        answer = client.get(f"/images/{item['id']}/thumbnail")
        with Image.open(BytesIO(answer.content)) as small:
            assert answer.headers["content-type"] == Image.MIME[str(small.format)]
            assert small.size == expected
            assert not small.getexif()
            found = small.convert("RGB").resize((4, 4), Image.Resampling.NEAREST)
        for colour, at in zip(CORNERS, ((0, 0), (3, 0), (0, 3), (3, 3)), strict=True):
            assert found.getpixel(at) == pytest.approx(colour, abs=12)


def test_thumbnail_created_during_deletion_is_removed(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = add_images(client, random_image(1))
    for file in (settings.data_dir / "pictures" / "thumbnails").rglob("*.jpg"):
        file.unlink()
    store = LocalStorage.store_thumbnails

    def delete_and_store(files: LocalStorage, thumbnails: Mapping[str, bytes]) -> None:
        assert client.delete(f"/images/{item['id']}").status_code == 204
        store(files, thumbnails)

    monkeypatch.setattr(LocalStorage, "store_thumbnails", delete_and_store)
    client.get(f"/images/{item['id']}/thumbnail")
    assert [path for path in (settings.data_dir / "pictures").rglob("*") if path.is_file()] == []
    assert list((settings.data_dir / "under-way").iterdir()) == []


def test_seen_returns_the_pixels_that_the_model_reads(client: TestClient) -> None:
    # The fake model reads images at full size.
    for data in every_format(corners()).values():
        (item,) = add_images(client, data)
        answer = client.get(f"/images/{item['id']}/seen")
        assert answer.headers["Content-Type"] == "image/png"
        shown = Image.open(BytesIO(answer.content))
        assert shown.tobytes() == decode(data, DecodeLimits()).image.tobytes()
        tag = answer.headers["ETag"]
        assert FAKE_NETWORK.fingerprint in tag
        assert client.get(f"/images/{item['id']}/seen", headers={"If-None-Match": tag}).status_code == 304


def test_missing_thumbnail_is_created_again(client: TestClient, settings: Settings) -> None:
    (item,) = add_images(client, random_image(1))
    address = f"/images/{item['id']}/thumbnail"
    first = client.get(address).content
    (file,) = (path for path in (settings.data_dir / "pictures" / "thumbnails").rglob("*") if path.is_file())
    file.unlink()
    assert client.get(address).content == first
    assert file.exists()


def test_missing_original_returns_404(client: TestClient, settings: Settings) -> None:
    (item,) = add_images(client, random_image(1))
    for file in [path for path in (settings.data_dir / "pictures").rglob("*") if path.is_file()]:
        file.unlink()
    for which in ("original", "thumbnail"):
        answer = client.get(f"/images/{item['id']}/{which}")
        assert answer.status_code == 404
        assert "stored original" in answer.json()["detail"]
