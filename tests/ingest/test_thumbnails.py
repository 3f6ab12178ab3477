"""Thumbnails: their size, and renewing those of earlier versions."""

import threading
from io import BytesIO

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import select, text

from app.bootstrap import Service
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState
from app.errors import UnavailableError
from app.ingest.uploads import Upload
from app.maintenance import thumbnails
from app.maintenance.thumbnails import ThumbnailRenewal, renew_thumbnails
from app.model_switch.active import ActivePreparer
from app.search.decode.image import THUMBNAIL_SIDE, DecodeLimits
from app.search.decode.prepare import InProcessPreparer, PreparedImage
from tests.fakes import FAKE_NETWORK
from tests.images import encoded, gradient

SMALL = encoded(gradient(320, 240))


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(BytesIO(data)).size


@pytest.mark.parametrize(
    "size", [(400, 300), (513, 512), (640, 427), (1023, 700), (1600, 1200), (2000, 90), (90, 2000)]
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_thumbnail_has_its_size_although_the_network_needs_less(size: tuple[int, int], orientation: int) -> None:
    prepare = InProcessPreparer(FAKE_NETWORK.preprocess, DecodeLimits())
    image = gradient(*size)
    prepared = prepare(encoded(image, orientation=orientation), thumbnail=True)
    scale = min(1, THUMBNAIL_SIDE / max(size))
    assert max(prepared.image.size) < THUMBNAIL_SIDE or min(size) == 90
    assert size_of(prepared.thumbnail) == tuple(max(1, round(length * scale)) for length in size)


def test_thumbnail_does_not_change_what_the_network_reads() -> None:
    prepare = InProcessPreparer(FAKE_NETWORK.preprocess, DecodeLimits())
    data = encoded(gradient(1600, 1200))
    assert prepare(data, thumbnail=True).image.tobytes() == prepare(data).image.tobytes()


@pytest.fixture
def hashes(service: Service) -> list[str]:
    """Twenty images, the last two with one file, with thumbnails of an earlier version; their hashes by id."""
    files = [encoded(gradient(600 + at, 450)) for at in range(19)]
    service.ingest.add([Upload(data, f"key-{at}", {}) for at, data in enumerate([*files, files[-1]])])
    with service.database.transaction() as session:
        found = list(session.scalars(text("SELECT sha256 FROM images ORDER BY id")))
        session.execute(text("UPDATE catalogue SET old_thumbnails_to = 20"))
    service.storage.store_thumbnails(dict.fromkeys(found, SMALL))
    return found


def progress(service: Service) -> int:
    with service.database.read_session() as session:
        return session.scalars(select(CatalogueState.old_thumbnails_to)).one()


def sizes(service: Service, hashes: list[str]) -> list[int]:
    return [max(size_of(service.storage.read_thumbnail(sha256))) for sha256 in hashes]


def test_old_thumbnails_are_renewed_once(service: Service, hashes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert renew_thumbnails(service, threading.Event())
    assert sizes(service, hashes) == [THUMBNAIL_SIDE] * 20
    assert progress(service) == 0
    monkeypatch.setattr(thumbnails, "renew_thumbnail", None)
    assert renew_thumbnails(service, threading.Event())


def test_renewal_goes_on_where_it_was_stopped(
    service: Service, hashes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, renewed, renew = threading.Event(), list[str](), thumbnails.renew_thumbnail

    def stop_after(service: Service, sha256: str) -> bytes:
        renewed.append(sha256)
        if len(renewed) == 18:
            ending.set()
        return renew(service, sha256)

    monkeypatch.setattr(thumbnails, "renew_thumbnail", stop_after)
    assert not renew_thumbnails(service, ending)
    # The first batch is recorded, the newest images first; two of the second are done and will be done again.
    assert progress(service) == 4
    assert sizes(service, hashes) == [320, 320, *[THUMBNAIL_SIDE] * 18]
    del renewed[:]
    ending.clear()
    assert renew_thumbnails(service, ending)
    assert renewed == hashes[3::-1]
    assert sizes(service, hashes) == [THUMBNAIL_SIDE] * 20


def test_a_lost_or_damaged_original_does_not_stop_the_others(
    service: Service, hashes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    service.storage.set_aside(hashes[5])
    (service.settings.data_dir / "pictures" / "originals" / hashes[7][:2] / hashes[7]).write_bytes(b"damaged")
    assert renew_thumbnails(service, threading.Event())
    found = sizes(service, hashes)
    assert [at for at, size in enumerate(found) if size == 320] == [5, 7]
    assert {hashes[5] in line or hashes[7] in line for line in caplog.messages if "cannot be renewed" in line} == {True}


def test_thread_waits_while_the_storage_is_unavailable(
    service: Service, hashes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    available, done, renew = threading.Event(), threading.Event(), thumbnails.renew_thumbnails

    def unavailable_at_first(service: Service, ending: threading.Event) -> bool:
        if not available.is_set():
            available.set()
            raise UnavailableError("The bucket cannot be reached.")
        finished = renew(service, ending)
        done.set()
        return finished

    monkeypatch.setattr(thumbnails, "renew_thumbnails", unavailable_at_first)
    monkeypatch.setattr(thumbnails, "_RETRY_S", 0.01)
    with ThumbnailRenewal(service):
        assert done.wait(60)
    assert sizes(service, hashes) == [THUMBNAIL_SIDE] * 20


def test_only_one_process_renews(service: Service, hashes: list[str], migrated_url: str) -> None:
    with service.database.read_connection() as other:
        other.execute(text("SELECT pg_advisory_lock(7164215)"))
        assert not renew_thumbnails(service, threading.Event())
        other.execute(text("SELECT pg_advisory_unlock(7164215)"))
    assert progress(service) == 20


def test_image_deleted_meanwhile_leaves_no_thumbnail(
    service: Service, hashes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = ActivePreparer.__call__

    def delete_first(self: ActivePreparer, data: bytes, *, thumbnail: bool) -> PreparedImage:
        if not service.storage.missing([hashes[0]]) and data == service.storage.read(hashes[0]):
            service.ingest.delete(1)
        return prepare(self, data, thumbnail=thumbnail)

    monkeypatch.setattr(ActivePreparer, "__call__", delete_first)
    assert renew_thumbnails(service, threading.Event())
    with pytest.raises(FileNotFoundError):
        service.storage.read_thumbnail(hashes[0])


def test_browsers_load_a_renewed_thumbnail_again(client: TestClient, database: Database) -> None:
    client.post("/index", files={"images": encoded(gradient(600, 450))}).raise_for_status()
    path = "/images/1/thumbnail"
    with database.transaction() as session:
        session.execute(text("UPDATE catalogue SET old_thumbnails_to = 1"))
    before = client.get(path)
    assert client.get(path, headers={"If-None-Match": before.headers["etag"]}).status_code == 304
    with database.transaction() as session:
        session.execute(text("UPDATE catalogue SET old_thumbnails_to = 0"))
    after = client.get(path, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert client.get(path, headers={"If-None-Match": after.headers["etag"]}).status_code == 304
    assert max(size_of(after.content)) == THUMBNAIL_SIDE
