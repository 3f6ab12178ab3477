"""The trash: what every process sees of deletions and restores, in any order and during concurrent changes."""

import random
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue.database.migrations import alembic_config
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Image, Removal, TrashedImage
from app.catalogue.selection import Selection
from app.catalogue.trash import TrashSelection
from app.errors import DamagedOriginalError, KeysInUseError, NotInTrashError
from app.ingest.trash_expiry import TrashExpiry
from app.maintenance.consistency_check import ConsistencyCheck
from app.maintenance.restore import restore
from app.search.types import SearchOptions
from app.settings import Settings
from tests.catalogue.test_backup import elsewhere, save
from tests.catalogue.test_index_sync import add, agree, answer, ids, opened, pair
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.ingest.networks import OTHER_CHECKPOINT, OTHER_NETWORK, OtherEncoder, fake_networks
from tests.ingest.test_reindex import reindex

__all__ = ["elsewhere", "pair"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that keep deleted images for a day."""
    return settings.model_copy(update={"trash_days": 1.0})


def delete(service: Service, *image_ids: int) -> int:
    """Delete images; return the deletion's id."""
    deleted = service.trash.delete(Selection(ids=image_ids), len(image_ids))
    assert deleted.deletion_id is not None
    return deleted.deletion_id


def undo(service: Service, deletion_id: int) -> int:
    """Restore a deletion; return the number of images."""
    return service.trash.restore(TrashSelection(1, deletion_id=deletion_id)).images


def rows(service: Service) -> list[dict[str, object]]:
    """Return all columns of all images, but for `seq`."""
    with service.database.read_session() as session:
        return [
            {name: value for name, value in vars(image).items() if name not in ("seq", "_sa_instance_state")}
            for image in session.scalars(select(Image).order_by(Image.id))
        ]


def check(service: Service) -> list[str]:
    found = ConsistencyCheck(service.database, service.storage, service.index, service.embedding_writer)
    return [str(finding) for finding in found.run(100, lambda *_: None)]


def test_processes_agree_whichever_changes_they_have_seen(pair: tuple[Service, Service], settings: Settings) -> None:
    one, two = pair
    added = [add(one, f"key {number}", number, "boots") for number in range(8)]
    before = rows(one)
    assert ids(two) == added
    with ExitStack() as stack:
        late = opened(settings, stack)  # sees neither the deletion nor the restore on its own
        deletion = delete(one, added[2], added[7])
        assert ids(two) == [one for one in added if one not in (added[2], added[7])]
        assert answer(two, 2)[0][0].distance > 0
        assert undo(two, deletion) == 2
        fresh = opened(settings, stack)
        for service in (one, two, late, fresh):
            assert ids(service) == added
            assert len(service.index) == 8
            assert (answer(service, 2, label="boots")[0][0].id, answer(service, 2)[0][0].distance) == (added[2], 0.0)
            assert service.searcher.by_id(added[7], SearchOptions(k=1)).matches[0][0].id == added[7]
        assert all(agree(one, other, seed) for seed in range(8) for other in (two, late, fresh))
    assert rows(one) == before
    assert add(two, "new", 50) > max(added)


def test_filters_follow_deletion_update_and_restore(pair: tuple[Service, Service]) -> None:
    one, two = pair
    first, second = add(one, "one", 1, "boots"), add(one, "two", 2, "boots")
    assert {match.id for match, _, _ in answer(two, 1, label="boots")} == {first, second}
    deletion = delete(one, first)
    assert {match.id for match, _, _ in answer(two, 1, label="boots")} == {second}
    undo(one, deletion)
    assert {match.id for match, _, _ in answer(two, 1, label="boots")} == {first, second}
    one.ingest.update_many(Selection(label="boots"), 2, {"label": "shoes"})
    assert answer(two, 1, label="boots") == []
    assert {match.id for match, _, _ in answer(two, 1, label="shoes")} == {first, second}


def test_f7_and_files_stay_until_the_purge(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = list[int]()
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        monkeypatch.setattr(type(service.index), "free", lambda _index, slots: freed.extend(slots))
        image_id = add(service, "one", 1)
        (slot,) = slots(database, image_id)
        deletion = delete(service, image_id)
        add(service, "two", 2)
        assert check(service) == []
        assert undo(service, deletion) == 1
        assert answer(service, 1)[0][0].distance == 0
        delete(service, image_id)
        assert freed == []
        assert service.trash.empty() == 1
        assert freed == [slot]


def slots(database: Database, image_id: int) -> list[int]:
    with database.read_session() as session:
        return list(session.scalars(select(Encoding.slot).where(Encoding.image_id == image_id).distinct()))


def test_restored_images_are_encoded_by_the_new_network(settings: Settings, database: Database) -> None:
    with build_service_with_encoder(
        settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT, fake_networks
    ) as service:
        added = [add(service, f"key {number}", number) for number in range(4)]
        deletion = delete(service, added[1], added[2])
        reindex(service, OtherEncoder())
        assert undo(service, deletion) == 2
        assert service.model_info.name == "other"
        assert [answer(service, number)[0][0].id for number in range(4)] == added
        assert [answer(service, number)[0][0].distance for number in range(4)] == [0.0] * 4
        assert check(service) == []
        again = delete(service, added[0])
        service.storage.remove(picture_hash(database, again))
        # It has a code of the network in use, so its original is not needed.
        assert undo(service, again) == 1
    with build_service_with_encoder(settings, database, OtherEncoder(), OTHER_NETWORK, OTHER_CHECKPOINT) as moved:
        assert ids(moved) == added


def test_image_that_cannot_be_encoded_again_is_named_and_nothing_is_restored(
    settings: Settings, database: Database
) -> None:
    with build_service_with_encoder(
        settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT, fake_networks
    ) as service:
        added = [add(service, f"key {number}", number) for number in range(3)]
        deletion = delete(service, *added[:2])
        service.storage.remove(picture_hash(database, deletion))
        reindex(service, OtherEncoder())
        with pytest.raises(DamagedOriginalError, match=r"image 1 \(key 0\)"):
            undo(service, deletion)
        assert ids(service) == added[2:]
        assert service.trash.restore(TrashSelection(1, ids=[added[1]])).images == 1


def picture_hash(database: Database, deletion_id: int) -> str:
    """Return the hash of the first image of a deletion."""
    with database.read_session() as session:
        first = select(TrashedImage.sha256).where(TrashedImage.deletion_id == deletion_id)
        return session.scalars(first.order_by(TrashedImage.image_id)).first() or ""


def test_searches_go_on_while_images_are_deleted_and_restored(pair: tuple[Service, Service]) -> None:
    writer, reader = pair
    added = [add(writer, f"key {number}", number) for number in range(30)]
    kept, moved = added[:15], added[15:]
    ending, errors = threading.Event(), list[BaseException]()

    def search() -> None:
        chance = random.Random(1)
        try:
            while not ending.is_set():
                seed = chance.randrange(15)
                match, key, _ = answer(reader, seed)[0]
                assert (match.id, match.distance, key) == (kept[seed], 0.0, f"key {seed}")
        except BaseException as error:
            errors.append(error)

    searching = [threading.Thread(target=search) for _ in range(2)]
    for thread in searching:
        thread.start()
    chance = random.Random(2)
    for _ in range(12):
        chosen = chance.sample(moved, 7)
        deletion = delete(writer, *chosen)
        assert set(ids(reader)) == set(added) - set(chosen)
        assert undo(reader, deletion) == 7
        assert ids(reader) == added
    ending.set()
    for thread in searching:
        thread.join()
    assert errors == []
    assert all(agree(writer, reader, seed) for seed in range(0, 30, 5))


def test_expired_images_are_purged_in_the_background(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ingest.trash_expiry._POLL_S", 0.02)
    monkeypatch.setattr("app.ingest.trash._PURGE_BATCH", 2)
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        added = [add(service, f"key {number}", number) for number in range(6)]
        delete(service, *added[:5])
        with database.transaction() as session:
            session.execute(text("UPDATE trash SET deleted_at = deleted_at - interval '25 hours' WHERE image_id <> 3"))
        with pytest.raises(NotInTrashError, match=r"2 is not in the trash\. Deleted images are kept for 1 day "):
            service.trash.restore(TrashSelection(1, ids=[2, 3]))
        with TrashExpiry(service.trash.purge_batch):
            wait_until_trash_has(database, [3])
        assert service.trash.restore(TrashSelection(1, ids=[3])).images == 1
        assert ids(service) == [3, 6]
        assert check(service) == []
    assert sum(path.is_file() for path in (settings.data_dir / "pictures").rglob("*")) == 4


def wait_until_trash_has(database: Database, expected: list[int]) -> None:
    for _ in range(500):
        with database.read_session() as session:
            found = list(session.scalars(select(TrashedImage.image_id)))
        if found == expected:
            return
        threading.Event().wait(0.02)
    raise AssertionError(found)


def test_purge_cut_off_before_its_files_are_deleted_is_completed(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        delete(service, add(service, "one", 1))
        with monkeypatch.context() as patched:
            patched.setattr("app.catalogue.storage.orphan_cleanup.OrphanCleanup.delete", lambda *_: None)
            service.trash.empty()
        assert [path for path in (settings.data_dir / "pictures").rglob("*") if path.is_file()]
        with database.transaction() as session:
            session.execute(text("UPDATE removals SET safe_at = now() - interval '1 hour'"))
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT):
        assert not [path for path in (settings.data_dir / "pictures").rglob("*") if path.is_file()]


def test_backup_includes_the_trash(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    added = [add(service, f"key {number}", number) for number in range(4)]
    before = rows(service)
    deletion = delete(service, *added[1:3])
    assert save(service, tmp_path / "backup")["pictures"] == 2
    elsewhere = elsewhere.model_copy(update={"trash_days": 1.0})
    with closing(Database(str(elsewhere.database_url))) as database:
        restore_into(database, elsewhere, tmp_path / "backup")
        with build_service_with_encoder(elsewhere, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as copy:
            assert ids(copy) == [added[0], added[3]]
            assert undo(copy, deletion) == 2
            assert rows(copy) == before
            assert [answer(copy, number)[0][0].distance for number in range(4)] == [0.0] * 4
            assert check(copy) == []
            assert add(copy, "new", 9) > max(added)


def restore_into(database: Database, settings: Settings, folder: Path) -> None:
    from app.catalogue.storage.factory import open_storage

    pictures = open_storage(settings.storage_url, settings.data_dir)
    restore(database, pictures, settings.data_dir, folder, lambda *_: None)


def test_downgrade_deletes_what_is_in_the_trash(settings: Settings, database: Database) -> None:
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        one, two = add(service, "one", 1), add(service, "two", 2)
        add(service, "the same file", 2)
        delete(service, one, two)
        with database.read_session() as session:
            unused = session.scalars(select(TrashedImage.sha256).where(TrashedImage.image_id == one)).one()
    with database.connection_transaction() as connection:
        command.downgrade(alembic_config(connection), "feature_sets")
    with database.read_session() as session:
        assert list(session.scalars(select(Removal.sha256).where(~Removal.done))) == [unused]


def test_restore_of_used_keys_restores_nothing_or_the_others(service: Service) -> None:
    added = [add(service, f"key {number}", number) for number in range(3)]
    deletion = delete(service, *added)
    add(service, "key 0", 8)
    with pytest.raises(KeysInUseError, match=r"The key is in use again: key 0\. Nothing was restored"):
        undo(service, deletion)
    restored = service.trash.restore(TrashSelection(1, deletion_id=deletion), skip_used_keys=True)
    assert (restored.images, restored.skipped) == (2, 1)
