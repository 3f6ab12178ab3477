"""A bucket that responds slowly or after its client's timeout: changes continue, and no original is lost."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.catalogue.database.sessions import Database
from app.catalogue.storage import s3 as picture_bucket
from app.catalogue.storage.local import content_hash
from app.main import create_app
from app.settings import Settings
from tests.api.test_index import add_images, random_image
from tests.conftest import open_with_fake
from tests.holding_proxy import HoldingProxy, holding_proxy
from tests.s3 import BUCKET, S3Server, s3

__all__ = ["s3"]

# Time limit of changes while the bucket is blocked for longer, on a busy machine.
SOON_S = 15.0
DELETION, HEAD = b"?delete", b"HEAD "


@pytest.fixture
def wire(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[HoldingProxy]:
    with holding_proxy(s3.port) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{opened.port}")
        yield opened


@pytest.fixture
def in_bucket(settings: Settings, wire: HoldingProxy) -> Settings:
    assert wire.port
    return settings.model_copy(update={"storage_url": f"s3://{BUCKET}/mine"})


@pytest.fixture
def client(in_bucket: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(in_bucket, open_with_fake), raise_server_exceptions=False) as opened:
        yield opened


def beside(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def has_original(s3: S3Server, number: int) -> bool:
    return any(name.endswith(content_hash(random_image(number))) for name in s3.objects())


def change_everything(client: TestClient, image_id: int) -> float:
    """Update an image ten times; return the seconds that it takes."""
    began = time.monotonic()
    for label in range(10):
        assert client.patch(f"/images/{image_id}", json={"label": str(label)}).status_code == 200
    return time.monotonic() - began


def test_changes_continue_while_deletions_wait_for_the_bucket(
    client: TestClient, wire: HoldingProxy, s3: S3Server
) -> None:
    items = add_images(client, *(random_image(number) for number in range(14)))
    wire.hold(DELETION)
    # More than the database connections available for changes.
    deleting = [beside(partial(client.delete, f"/images/{one['id']}")) for one in items[:12]]
    assert wire.waiting.wait(30)
    until = time.monotonic() + 30
    while client.get("/stats").json()["images"] > 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert change_everything(client, items[12]["id"]) < SOON_S
    (new,) = add_images(client, random_image(100))
    assert new["status"] == "created"
    assert all(thread.is_alive() for thread in deleting), "they still wait for the bucket"
    assert has_original(s3, 0)
    wire.release()
    for thread in deleting:
        thread.join(60)
    assert [number for number in range(12) if has_original(s3, number)] == []
    assert all(has_original(s3, number) for number in (12, 13, 100))


def test_changes_continue_while_an_addition_waits_for_the_bucket(client: TestClient, wire: HoldingProxy) -> None:
    (item,) = add_images(client, random_image(1))
    wire.hold(HEAD)
    adding = beside(lambda: add_images(client, random_image(2)))
    assert wire.waiting.wait(30)
    assert change_everything(client, item["id"]) < SOON_S
    assert client.delete(f"/images/{item['id']}").status_code == 204
    assert adding.is_alive()
    wire.release()
    adding.join(60)
    assert client.get("/stats").json()["images"] == 1


def test_adding_an_original_that_is_being_deleted_returns_503_until_the_deletion_ends(
    client: TestClient, wire: HoldingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.catalogue.storage.orphan_cleanup._WAIT_TIMEOUT_S", 0.2)
    (item,) = add_images(client, random_image(1))
    wire.hold(DELETION)
    deleting = beside(lambda: client.delete(f"/images/{item['id']}"))
    assert wire.waiting.wait(30)
    answer = client.post("/index", files=[("images", ("a.png", random_image(1)))])
    assert answer.status_code == 503
    assert "being deleted" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0
    wire.release()
    deleting.join(60)
    (again,) = add_images(client, random_image(1))
    assert client.get(f"/images/{again['id']}/original").content == random_image(1)


def test_late_deletion_removes_no_new_original(
    in_bucket: Settings, wire: HoldingProxy, s3: S3Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.catalogue.storage.orphan_cleanup._WAIT_TIMEOUT_S", 0.2)
    monkeypatch.setitem(picture_bucket._CLIENT_OPTIONS, "timeout", timedelta(seconds=3))
    monkeypatch.setitem(picture_bucket._RETRY_OPTIONS, "max_retries", 0)
    with TestClient(create_app(in_bucket, open_with_fake), raise_server_exceptions=False) as client:
        (item,) = add_images(client, random_image(1))
        wire.hold(DELETION)
        assert client.delete(f"/images/{item['id']}").status_code == 204, "no search finds the image"
        assert has_original(s3, 1)
        # The request is still in flight: the same bytes must wait until S3 would reject it as expired.
        answer = client.post("/index", files=[("images", ("a.png", random_image(1)))])
        assert answer.status_code == 503
        assert 0 < int(answer.headers["retry-after"]) <= 60
        wire.release()
        until = time.monotonic() + 30
        while has_original(s3, 1):
            assert time.monotonic() < until
            time.sleep(0.05)
        with database.connection_transaction() as connection:
            connection.execute(text("UPDATE removals SET safe_at = now()"))
        (again,) = add_images(client, random_image(1))
        assert client.get(f"/images/{again['id']}/original").content == random_image(1)
