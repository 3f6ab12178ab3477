"""Backup and restore of a catalogue, during concurrent changes too."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import make_url, text

from app.adaptation import adapt as adapting
from app.adaptation.adapt import adapt
from app.bootstrap import Service, build_service_with_encoder, index_locations, open_fsync_guard
from app.catalogue.database.locks import Lock, exclusive_lock
from app.catalogue.database.migrations import alembic_config
from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key, verify_token
from app.catalogue.storage.factory import open_storage
from app.common.scopes import Scope
from app.errors import LookalikeError
from app.ingest.uploads import Upload
from app.maintenance.backup import backup
from app.maintenance.consistency_check import ConsistencyCheck
from app.maintenance.restore import restore
from app.maintenance.table_files import columns_of, write_rows
from app.search.types import SearchOptions
from app.settings import Settings
from tests.catalogue.postgres import connect
from tests.crash.ledger import numbered_image
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.vector_files import vector_file

# Tables in backups of earlier versions, and those versions' migrations.
EARLIER = ("generations", "catalogue", "pictures", "encodings", "deletions", "api_keys")
REVISIONS = {"0.2.0": "jobs", "0.3.0": "milvus"}


@pytest.fixture
def elsewhere(postgres_url: str, template: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings of another, empty catalogue: a database and a data folder."""
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE elsewhere TEMPLATE {template}")
        url = make_url(postgres_url).set(database="elsewhere").render_as_string(hide_password=False)
        yield Settings(data_dir=tmp_path / "elsewhere", database_url=url, demo="off", _env_file=None)
        connection.execute("DROP DATABASE elsewhere WITH (FORCE)")


def add(service: Service, *numbers: int) -> None:
    service.ingest.add([Upload(numbered_image(one), f"key-{one}", {"label": f"label {one % 3}"}) for one in numbers])


def save(service: Service, folder: Path) -> dict[str, object]:
    return backup(service.database, service.storage, service.settings.data_dir, folder, lambda *_: None)


def restored(elsewhere: Settings, folder: Path) -> None:
    with closing(Database(str(elsewhere.database_url))) as database:
        pictures = open_storage(elsewhere.storage_url, elsewhere.data_dir)
        restore(database, pictures, elsewhere.data_dir, folder, lambda *_: None)


def check_all(elsewhere: Settings, numbers: range) -> None:
    with (
        closing(Database(str(elsewhere.database_url))) as database,
        build_service_with_encoder(elsewhere, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service,
    ):
        assert (
            ConsistencyCheck(database, service.storage, service.index, service.embedding_writer).run(
                100, lambda *_: None
            )
            == []
        )
        assert len(service.index_sync.synced_index()) == len(numbers)
        for one in numbers:
            match, shown = service.searcher.by_image(numbered_image(one), SearchOptions(k=1)).matches[0]
            assert (shown.key, shown.label, match.distance) == (f"key-{one}", f"label {one % 3}", 0.0)
        add(service, 1000)
        match, shown = service.searcher.by_image(numbered_image(1000), SearchOptions(k=1)).matches[0]
        assert (shown.key, match.distance) == ("key-1000", 0.0)


def test_backup_restores_completely(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    add(service, *range(20))
    service.ingest.delete(3)
    with service.database.transaction() as session:
        key = create_key(session, "one", [Scope.SEARCH])
    manifest = save(service, tmp_path / "backup")
    assert manifest["pictures"] == 19
    add(service, 77)
    restored(elsewhere, tmp_path / "backup")
    with closing(Database(str(elsewhere.database_url))) as database, database.read_session() as session:
        assert verify_token(session, key) is not None
        keys = set(session.scalars(text("SELECT key FROM images")))
    assert keys == {f"key-{one}" for one in range(20) if one != 2}


def test_backup_is_consistent_during_concurrent_changes(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    add(service, *range(30))
    ending = threading.Event()

    def change() -> None:
        number = 100
        while not ending.is_set():
            add(service, number)
            image_id = service.searcher.by_image(numbered_image(number), SearchOptions(k=1)).matches[0][0].id
            service.ingest.delete(image_id)
            number += 1

    changing = threading.Thread(target=change)
    changing.start()
    for _ in range(3):
        save(service, tmp_path / "backup")
    ending.set()
    changing.join()
    restored(elsewhere, tmp_path / "backup")
    with (
        closing(Database(str(elsewhere.database_url))) as database,
        build_service_with_encoder(elsewhere, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as copy,
    ):
        assert (
            ConsistencyCheck(database, copy.storage, copy.index, copy.embedding_writer).run(100, lambda *_: None) == []
        )
        assert 30 <= len(copy.index_sync.synced_index()) <= 31


@pytest.mark.usefixtures("free_at_once")
def test_backup_contains_vectors_that_were_freed_meanwhile(
    service: Service, elsewhere: Settings, tmp_path: Path
) -> None:
    vectors = vector_file(service)
    add(service, *range(60))
    before = vectors.bytes_on_disk
    with service.database.read_session() as session:
        ids = list(session.scalars(text("SELECT id FROM images")))

    def delete_all(*_: int) -> None:
        while ids:
            service.ingest.delete(ids.pop())

    # Originals are copied first; by then all images are deleted.
    backup(service.database, service.storage, service.settings.data_dir, tmp_path / "backup", delete_all)
    restored(elsewhere, tmp_path / "backup")
    check_all(elsewhere, range(60))
    assert vectors.bytes_on_disk == before
    add(service, 100)
    service.ingest.delete(61)
    assert vectors.bytes_on_disk < before


def test_originals_are_kept_while_the_backup_lock_is_held(service: Service) -> None:
    add(service, 1)
    (original,) = service.storage.hashes()
    with exclusive_lock(service.database, Lock.BACKUP):
        service.ingest.delete(1)
        assert list(service.storage.hashes()) == [original]
    add(service, 1)
    service.ingest.delete(2)
    assert list(service.storage.hashes()) == []


def test_new_images_get_ids_after_the_restored_ones(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    add(service, *range(5))
    save(service, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    check_all(elsewhere, range(5))


def test_ids_of_deleted_images_are_not_reused_after_a_restore(
    service: Service, elsewhere: Settings, tmp_path: Path
) -> None:
    add(service, *range(5))
    service.ingest.delete(5)
    save(service, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    with (
        closing(Database(str(elsewhere.database_url))) as database,
        build_service_with_encoder(elsewhere, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as copy,
    ):
        (added,) = copy.ingest.add([Upload(numbered_image(9), "key-9", {})])
        assert added.id == 6
        copy.ingest.delete(6)


def test_delete_works_if_the_id_was_deleted_before(service: Service) -> None:
    add(service, 1)
    with service.database.transaction() as session:
        session.execute(text("INSERT INTO deletions (image_id, seq) VALUES (1, 1)"))
    service.ingest.delete(1)
    assert len(service.index_sync.synced_index()) == 0


def test_failed_backup_keeps_the_previous_one(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    add(service, *range(5))
    save(service, folder)
    before = {path.name for path in folder.iterdir()}
    add(service, 5)
    service.ingest.delete(1)
    originals = {
        path: path.read_bytes() for path in (service.settings.data_dir / "pictures").rglob("*") if path.is_file()
    }
    for path in originals:
        path.unlink()
    with pytest.raises(LookalikeError, match="is missing"):
        save(service, folder)
    assert {path.name for path in folder.iterdir()} == before
    restored(elsewhere, folder)
    check_all(elsewhere, range(5))
    for path, data in originals.items():
        path.write_bytes(data)
    save(service, folder)
    assert len(before & {path.name for path in folder.iterdir()}) == 2, (
        "the manifest and the originals; the snapshot folder is new"
    )


def test_truncated_original_is_copied_again(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    add(service, *range(3))
    save(service, tmp_path / "backup")
    cut, rotten, _ = (path for path in (tmp_path / "backup" / "pictures").rglob("*") if path.is_file())
    cut.write_bytes(b"")
    save(service, tmp_path / "backup")
    whole = rotten.read_bytes()
    rotten.write_bytes(whole[:-1] + b"?")
    with pytest.raises(LookalikeError, match=f"1 of 3 images have no intact original.*{rotten.name}"):
        restored(elsewhere, tmp_path / "backup")
    rotten.write_bytes(whole)
    restored(elsewhere, tmp_path / "backup")
    check_all(elsewhere, range(3))


@pytest.mark.parametrize("made_by", REVISIONS)
def test_backup_of_an_earlier_version_restores(
    service: Service, elsewhere: Settings, tmp_path: Path, made_by: str
) -> None:
    add(service, *range(5))
    manifest = save(service, tmp_path / "backup")
    tables = tmp_path / "backup" / str(manifest["folder"]) / "tables"
    shutil.rmtree(tables)
    tables.mkdir()
    with service.database.connection_transaction() as connection:
        command.downgrade(alembic_config(connection), REVISIONS[made_by])
        columns = {table: columns_of(connection, table) for table in EARLIER}
        digests = {name: write_rows(connection, name, its, tables / name) for name, its in columns.items()}
    manifest |= {"revision": REVISIONS[made_by], "columns": columns, "digests": digests}
    (tmp_path / "backup" / "manifest.json").write_text(json.dumps(manifest))
    restored(elsewhere, tmp_path / "backup")
    check_all(elsewhere, range(5))
    with service.database.connection_transaction() as connection:
        command.upgrade(alembic_config(connection), "head")


def test_incomplete_backup_is_refused(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    add(service, 1)
    save(service, tmp_path / "backup")
    manifest = tmp_path / "backup" / "manifest.json"
    whole = manifest.read_text()
    manifest.unlink()
    with pytest.raises(LookalikeError, match="not a complete backup"):
        restored(elsewhere, tmp_path / "backup")
    manifest.write_text(json.dumps(json.loads(whole) | {"revision": "another"}))
    with pytest.raises(LookalikeError, match="Use a newer one"):
        restored(elsewhere, tmp_path / "backup")
    manifest.write_text(json.dumps({name: value for name, value in json.loads(whole).items() if name != "columns"}))
    with pytest.raises(LookalikeError, match="Restore it with that version, then update"):
        restored(elsewhere, tmp_path / "backup")
    manifest.write_text(whole)
    restored(elsewhere, tmp_path / "backup")
    with pytest.raises(LookalikeError, match="not empty"):
        restored(elsewhere, tmp_path / "backup")


def test_backup_into_a_folder_with_other_files_is_refused(service: Service, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(LookalikeError, match="has other files"):
        save(service, tmp_path / "mine")


def test_backup_of_an_adapted_catalogue_has_its_codes(
    service: Service, elsewhere: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "MIN_IMAGES", 50)
    monkeypatch.setattr(adapting, "_MIN_GAIN", -1.0)
    add(service, *range(60))
    settings = service.settings
    adapt(
        service.database,
        index_locations(settings),
        open_fsync_guard(settings),
        lambda *_: None,
        describe=lambda _: FAKE_NETWORK,
    )
    info = service.searcher.by_id(1, SearchOptions()).model
    save(service, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    with (
        closing(Database(str(elsewhere.database_url))) as database,
        build_service_with_encoder(elsewhere, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as again,
    ):
        assert again.model_info.fingerprint == info != FAKE_NETWORK.fingerprint
        assert (
            again.searcher.by_id(1, SearchOptions(k=20)).matches
            == service.searcher.by_id(1, SearchOptions(k=20)).matches
        )
    check_all(elsewhere, range(60))
