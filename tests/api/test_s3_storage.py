"""The service with images in an S3 bucket, also while the bucket is unavailable."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from app.bootstrap import Service, build_service_with_encoder, index_locations
from app.catalogue import changes
from app.catalogue.database.sessions import Database
from app.catalogue.queries import active_index_version
from app.catalogue.storage.factory import open_storage
from app.catalogue.storage.local import content_hash
from app.main import create_app
from app.maintenance.backup import backup
from app.maintenance.consistency_check import ConsistencyCheck
from app.maintenance.restore import restore
from app.maintenance.sync import MilvusSync
from app.model_switch.index_factory import open_index
from app.search.milvus.index import MilvusIndex
from app.settings import Settings
from tests.api.test_index import add_images, random_image
from tests.catalogue.postgres import connect
from tests.conftest import open_with_fake
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.s3 import BUCKET, S3Server, s3

__all__ = ["s3"]


@pytest.fixture
def settings(settings: Settings, s3: S3Server) -> Settings:
    """Settings with images in a bucket."""
    return settings.model_copy(update={"storage_url": f"s3://{BUCKET}/mine"})


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings, open_with_fake), raise_server_exceptions=False) as opened:
        yield opened


def search(client: TestClient, number: int) -> dict[str, object]:
    answer = client.post("/search", files={"image": random_image(number)})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()["results"][0]
    return found


def originals(s3: S3Server) -> set[str]:
    return {Path(name).name for name in s3.objects() if "/originals/" in name}


def test_images_in_a_bucket_are_added_served_and_deleted(client: TestClient, s3: S3Server, settings: Settings) -> None:
    one, two = add_images(client, random_image(1), random_image(2))
    address = f"/images/{one['id']}"
    original = client.get(f"{address}/original")
    assert original.content == random_image(1)
    assert original.headers["content-length"] == str(len(random_image(1)))
    thumbnail = client.get(f"{address}/thumbnail")
    assert thumbnail.content.startswith(b"\xff\xd8")
    seen = {"If-None-Match": original.headers["etag"]}
    assert client.get(f"{address}/original", headers=seen).status_code == 304
    assert search(client, 2)["id"] == two["id"]
    assert client.delete(address).status_code == 204
    assert client.get(f"{address}/original").status_code == 404
    assert originals(s3) == {content_hash(random_image(2))}
    assert not (settings.data_dir / "pictures").exists(), "no local copies"


def test_missing_thumbnail_is_created_again(client: TestClient, s3: S3Server) -> None:
    (item,) = add_images(client, random_image(1))
    address = f"/images/{item['id']}/thumbnail"
    first = client.get(address).content
    (name,) = (name for name in s3.objects() if "/thumbnails/" in name)
    s3.delete(name)
    assert client.get(address).content == first
    assert name in s3.objects()


def test_without_the_bucket_searches_work_and_file_access_returns_503(client: TestClient, s3: S3Server) -> None:
    (item,) = add_images(client, random_image(1))
    s3.stop()
    assert search(client, 1)["id"] == item["id"]
    assert client.get("/readyz").status_code == 200
    assert client.get(f"/images/{item['id']}").status_code == 200
    assert client.patch(f"/images/{item['id']}", json={"label": "boots"}).status_code == 200
    for answer in (
        client.get(f"/images/{item['id']}/original"),
        client.get(f"/images/{item['id']}/thumbnail"),
        client.post("/index", files=[("images", ("a.png", random_image(2)))]),
    ):
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert "cannot be reached" in answer.json()["detail"]
    assert client.get("/stats").json()["images"] == 1
    s3.start()
    (again,) = add_images(client, random_image(2))
    assert again["status"] == "created"
    assert client.get(f"/images/{again['id']}/original").content == random_image(2)


def test_original_is_in_the_bucket_before_the_commit(
    client: TestClient, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = changes.put_images

    def stop_and_put(
        session: Session, index_version_id: int, puts: Sequence[changes.Put], **options: bool
    ) -> list[changes.PutResult]:
        s3.stop()
        return put(session, index_version_id, puts, **options)

    with monkeypatch.context() as patched:
        patched.setattr(changes, "put_images", stop_and_put)
        (item,) = add_images(client, random_image(1))
    assert item["status"] == "created"
    s3.start()
    assert client.get(f"/images/{item['id']}/original").content == random_image(1)


def checked(service: Service) -> ConsistencyCheck:
    return ConsistencyCheck(service.database, service.storage, service.index, service.embedding_writer)


def test_failed_bucket_deletion_is_repeated_at_the_next_start(
    client: TestClient, s3: S3Server, settings: Settings
) -> None:
    one, two = add_images(client, random_image(1), random_image(2))
    s3.stop()
    assert client.delete(f"/images/{one['id']}").status_code == 204, "no search finds the image"
    assert search(client, 1)["id"] == two["id"]
    s3.start()
    assert originals(s3) == {content_hash(random_image(1)), content_hash(random_image(2))}
    with open_with_fake(settings):
        assert originals(s3) == {content_hash(random_image(2))}


def test_check_finds_and_deletes_an_orphaned_original(
    client: TestClient, s3: S3Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_images(client, random_image(1))
    monkeypatch.setattr("app.maintenance.consistency_check._YOUNG_S", -60)
    with open_with_fake(settings) as service:
        service.storage.store({content_hash(random_image(2)): random_image(2)})
        (finding,) = checked(service).run(10, lambda *_: None)
        assert (finding.kind, finding.name) == ("file", content_hash(random_image(2)))
        assert checked(service).repair([finding]) == []
        assert checked(service).run(10, lambda *_: None) == []
    assert originals(s3) == {content_hash(random_image(1))}


def test_failed_bucket_deletion_is_repeated_from_any_data_folder(
    client: TestClient, s3: S3Server, settings: Settings
) -> None:
    one, _ = add_images(client, random_image(1), random_image(2))
    s3.stop()
    client.delete(f"/images/{one['id']}")
    s3.start()
    shutil.rmtree(settings.data_dir / "under-way")
    with open_with_fake(settings):
        assert originals(s3) == {content_hash(random_image(2))}


def test_check_without_the_bucket_raises_and_reports_nothing_missing(
    client: TestClient, s3: S3Server, settings: Settings
) -> None:
    from app.errors import UnavailableError

    add_images(client, random_image(1))
    with open_with_fake(settings) as service:
        s3.stop()
        with pytest.raises(UnavailableError, match="cannot be reached"):
            checked(service).run(10, lambda *_: None)


def test_backup_of_a_bucket_is_restored_to_a_folder(
    client: TestClient, settings: Settings, tmp_path: Path, postgres_url: str, template: str
) -> None:
    add_images(client, *(random_image(number) for number in range(20)))
    with open_with_fake(settings) as service:
        manifest = backup(service.database, service.storage, settings.data_dir, tmp_path / "backup", lambda *_: None)
    assert manifest["pictures"] == 20
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE in_a_folder TEMPLATE {template}")
    url = make_url(postgres_url).set(database="in_a_folder").render_as_string(hide_password=False)
    there = settings.model_copy(update={"storage_url": None, "data_dir": tmp_path / "there", "database_url": url})
    with closing(Database(url)) as database:
        pictures = open_storage(there.storage_url, there.data_dir)
        restore(database, pictures, there.data_dir, tmp_path / "backup", lambda *_: None)
        with database.read_session() as session:
            index_version = active_index_version(session)
        assert index_version is not None
        # With Milvus a restored catalogue has new collections, which are empty.
        open_index(database, index_version, index_locations(there), create_missing=True).close()
        with build_service_with_encoder(there, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
            if isinstance(service.index, MilvusIndex):
                report = MilvusSync(database, service.storage, service.index, service.embedding_writer).run(
                    lambda *_: None
                )
                assert report.encoded == 20
            assert checked(service).run(20, lambda *_: None) == []
            assert service.storage.read(content_hash(random_image(3))) == random_image(3)
    with connect(postgres_url) as connection:
        connection.execute("DROP DATABASE in_a_folder WITH (FORCE)")
