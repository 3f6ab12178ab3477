"""Changes to the catalogue, and their visibility to index sync."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from app.catalogue import changes, index_versions, trash
from app.catalogue.changes import CatalogueChangedError, ImageProperties, Put, PutResult
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState, Deletion, Encoding, Image
from app.catalogue.encodings import NewEncoding, put_encodings, reserve_slots
from app.catalogue.index_sync import IndexSync
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.selection import Selection
from app.catalogue.vectors.file import VectorFile
from app.errors import ModelSwitchedError, NotFoundError, SelectionChangedError
from app.search.local.index import LocalIndex
from tests.fakes import BITS, FAKE_CHECKPOINT, FAKE_NETWORK, FEATURE_DIM

FACTS = ImageProperties(sha256="a" * 64, media_type="image/png", width=4, height=3, size_bytes=100)
OTHER_FACTS = ImageProperties(sha256="b" * 64, media_type="image/jpeg", width=8, height=6, size_bytes=200)
CODE, OTHER_CODE = b"\x0f" * (BITS // 8), b"\xf0" * (BITS // 8)


@dataclass(frozen=True)
class Catalogue:
    """A catalogue and its active index version."""

    database: Database
    index_version_id: int

    def put(self, *puts: Put) -> list[PutResult]:
        with self.database.transaction() as session:
            return changes.put_images(session, self.index_version_id, puts)

    def delete(self, image_id: int) -> int:
        with self.database.transaction() as session:
            return trash.delete_images(session, Selection(ids=[image_id]), 1)[0]

    def describe(self, image_id: int, given: MetadataPatch) -> Image:
        with self.database.transaction() as session:
            return changes.patch_metadata(session, image_id, given)

    def reserve(self, count: int) -> list[int]:
        with self.database.transaction() as session:
            slots: list[int] = reserve_slots(session, self.index_version_id, count).tolist()
            return slots

    def seq(self) -> int:
        with self.database.read_session() as session:
            return session.scalars(select(CatalogueState.seq)).one()

    def images(self) -> list[Image]:
        with self.database.read_session() as session:
            return list(session.scalars(select(Image).order_by(Image.id)))

    def encodings(self) -> list[Encoding]:
        with self.database.read_session() as session:
            return list(session.scalars(select(Encoding).order_by(Encoding.image_id)))

    def deletions(self) -> list[tuple[int, int]]:
        with self.database.read_session() as session:
            return [(row.image_id, row.seq) for row in session.scalars(select(Deletion).order_by(Deletion.seq))]


@pytest.fixture
def catalogue(database: Database) -> Catalogue:
    with database.transaction() as session:
        return Catalogue(database, index_versions.activate_for(session, FAKE_NETWORK, FAKE_CHECKPOINT).id)


def new(key: str, slot: int = 0, given: MetadataPatch | None = None) -> Put:
    return Put(key, FACTS.sha256, given or {}, FACTS, NewEncoding(slot, CODE, checksum=slot + 1))


def other(key: str, slot: int, given: MetadataPatch | None = None) -> Put:
    return Put(key, OTHER_FACTS.sha256, given or {}, OTHER_FACTS, NewEncoding(slot, OTHER_CODE, checksum=slot + 1))


def same(key: str, given: MetadataPatch | None = None) -> Put:
    return Put(key, FACTS.sha256, given or {}, None, None)


def test_new_key_creates_an_image_with_all_properties(catalogue: Catalogue) -> None:
    before = catalogue.seq()
    (done,) = catalogue.put(new("one", 5, {"label": "boots", "metadata": {"price": 3}}))
    (image,), (encoding,) = catalogue.images(), catalogue.encodings()
    assert done == PutResult(image.id, "created")
    assert (image.key, image.label, image.metadata_) == ("one", "boots", {"price": 3})
    assert {name: getattr(image, name) for name in vars(FACTS)} == vars(FACTS)
    assert (encoding.image_id, encoding.slot, encoding.code, encoding.checksum) == (image.id, 5, CODE, 6)
    assert encoding.seq == catalogue.seq() == before + 1


def test_label_and_metadata_default_to_empty(catalogue: Catalogue) -> None:
    catalogue.put(new("one"))
    (image,) = catalogue.images()
    assert (image.label, image.metadata_) == (None, {})


def test_many_images_are_one_change_with_ascending_ids(catalogue: Catalogue) -> None:
    before = catalogue.seq()
    done = catalogue.put(*(new(f"key {9 - number}", number) for number in range(9)))
    assert catalogue.seq() == before + 1
    ids = [item.id for item in done]
    assert ids == sorted(set(ids))
    assert [image.key for image in catalogue.images()] == [f"key {9 - number}" for number in range(9)]
    assert [encoding.slot for encoding in catalogue.encodings()] == list(range(9))


def test_new_bytes_replace_properties_and_encoding_but_keep_id_and_metadata(catalogue: Catalogue) -> None:
    (created,) = catalogue.put(new("one", 0, {"label": "boots", "metadata": {"price": 3}}))
    (updated,) = catalogue.put(other("one", 7))
    assert updated == PutResult(created.id, "updated", replaced=FACTS.sha256)
    (image,), (encoding,) = catalogue.images(), catalogue.encodings()
    assert {name: getattr(image, name) for name in vars(OTHER_FACTS)} == vars(OTHER_FACTS)
    assert (image.label, image.metadata_) == ("boots", {"price": 3})
    assert (encoding.slot, encoding.code, encoding.seq) == (7, OTHER_CODE, catalogue.seq())


def test_same_bytes_are_unchanged(catalogue: Catalogue) -> None:
    (created,) = catalogue.put(new("one", 0, {"label": "boots"}))
    assert catalogue.put(same("one")) == [PutResult(created.id, "unchanged")]
    assert catalogue.put(same("one", {"label": "boots"})) == [PutResult(created.id, "unchanged")]
    # Another process added the same bytes in the meantime.
    assert catalogue.put(new("one", 8)) == [PutResult(created.id, "unchanged")]


@pytest.mark.parametrize(
    "given", [MetadataPatch(label="shoes"), MetadataPatch(label=None), MetadataPatch(metadata={"price": 4})]
)
def test_same_bytes_with_other_metadata_are_an_update(catalogue: Catalogue, given: MetadataPatch) -> None:
    (created,) = catalogue.put(new("one", 0, {"label": "boots", "metadata": {"price": 3, "size": 42}}))
    assert catalogue.put(same("one", given)) == [PutResult(created.id, "updated")]
    (image,) = catalogue.images()
    assert (image.label, image.metadata_) == (
        given.get("label", "boots"),
        given.get("metadata", {"price": 3, "size": 42}),
    )


def test_last_put_of_a_duplicate_key_wins(catalogue: Catalogue) -> None:
    first, second = catalogue.put(new("one", 0, {"label": "boots"}), other("one", 1))
    assert first == PutResult(second.id, "created")
    assert (second.status, second.replaced) == ("updated", FACTS.sha256)
    (image,), (encoding,) = catalogue.images(), catalogue.encodings()
    assert (image.sha256, image.label) == (OTHER_FACTS.sha256, "boots")
    assert (encoding.slot, encoding.code) == (1, OTHER_CODE)


def test_new_bytes_delete_encodings_of_other_index_versions(catalogue: Catalogue) -> None:
    (created,) = catalogue.put(new("one"))
    network = replace(FAKE_NETWORK, fingerprint="0" * 16)
    with catalogue.database.transaction() as session:
        other_version = index_versions.find_or_create(session, network, Path("other_version.json")).id
        put_encodings(session, other_version, [(catalogue.images()[0], NewEncoding(0, CODE, 1))])
    assert [encoding.index_version_id for encoding in catalogue.encodings()] == [
        catalogue.index_version_id,
        other_version,
    ]
    catalogue.put(other("one", 1))
    (encoding,) = catalogue.encodings()
    assert (encoding.index_version_id, encoding.image_id) == (catalogue.index_version_id, created.id)


def test_delete_records_a_deletion(catalogue: Catalogue) -> None:
    kept, gone = catalogue.put(new("kept"), new("gone", 1))
    assert catalogue.delete(gone.id) == catalogue.seq()
    assert [image.id for image in catalogue.images()] == [kept.id]
    assert [encoding.image_id for encoding in catalogue.encodings()] == [kept.id]
    assert catalogue.deletions() == [(gone.id, catalogue.seq())]


def test_deleted_key_gets_a_new_id(catalogue: Catalogue) -> None:
    (first,) = catalogue.put(new("one"))
    catalogue.delete(first.id)
    (again,) = catalogue.put(new("one", 1))
    assert again.status == "created"
    assert again.id > first.id


def test_patch_merges_metadata_and_keeps_the_encoding(catalogue: Catalogue) -> None:
    (created,) = catalogue.put(new("one", 0, {"label": "boots", "metadata": {"price": 3, "size": 42}}))
    (encoding,), before = catalogue.encodings(), catalogue.seq()
    image = catalogue.describe(created.id, {"metadata": {"price": None, "colour": "red"}})
    assert (image.label, image.metadata_) == ("boots", {"size": 42, "colour": "red"})
    assert image.updated_at > image.created_at
    assert catalogue.describe(created.id, {"label": None}).label is None
    assert catalogue.seq() == before + 2
    assert catalogue.encodings()[0].seq == encoding.seq


def test_change_of_a_missing_image_changes_nothing(catalogue: Catalogue) -> None:
    before = catalogue.seq()
    with pytest.raises(SelectionChangedError) as changed:
        catalogue.delete(17)
    assert changed.value.missing == ["17"]
    with pytest.raises(NotFoundError) as raised:
        catalogue.describe(17, {"label": "x"})
    assert raised.value.identifier == 17
    assert (catalogue.seq(), catalogue.deletions()) == (before, [])


def test_put_for_an_inactive_index_version_is_refused(catalogue: Catalogue) -> None:
    before = catalogue.seq()
    with pytest.raises(ModelSwitchedError):
        replace(catalogue, index_version_id=catalogue.index_version_id + 1).put(new("one"))
    assert (catalogue.seq(), catalogue.images()) == (before, [])


def test_put_without_bytes_of_a_deleted_image_raises_catalogue_changed(catalogue: Catalogue) -> None:
    before = catalogue.seq()
    with pytest.raises(CatalogueChangedError):
        catalogue.put(new("one"), same("two"))
    assert (catalogue.seq(), catalogue.images()) == (before, []), "the change is rolled back"


def test_put_without_bytes_of_a_replaced_image_raises_catalogue_changed(catalogue: Catalogue) -> None:
    catalogue.put(new("one"))
    catalogue.put(other("one", 1, {"label": "theirs"}))
    with pytest.raises(CatalogueChangedError):
        catalogue.put(same("one", {"label": "mine"}))
    (image,) = catalogue.images()
    assert (image.sha256, image.label) == (OTHER_FACTS.sha256, "theirs")


@pytest.mark.parametrize(("before", "after"), [(1, True), (False, 0), ({"a": [1]}, {"a": [True]})])
def test_metadata_values_are_compared_as_json(catalogue: Catalogue, before: object, after: object) -> None:
    (done,) = catalogue.put(new("one", given={"metadata": {"sale": before}}))
    (changed,) = catalogue.put(same("one", {"metadata": {"sale": after}}))
    assert changed == PutResult(done.id, "updated")
    assert json.dumps(catalogue.images()[0].metadata_) == json.dumps({"sale": after})
    with catalogue.database.transaction() as session:
        changes.patch_metadata(session, done.id, {"metadata": {"sale": before}})
    assert json.dumps(catalogue.images()[0].metadata_) == json.dumps({"sale": before})


def test_reserved_slots_are_unique(catalogue: Catalogue) -> None:
    sizes = [1 + number % 5 for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        taken = [slot for slots in threads.map(catalogue.reserve, sizes) for slot in slots]
    assert sorted(taken) == list(range(sum(sizes)))


def test_concurrent_patches_are_merged(catalogue: Catalogue) -> None:
    (created,) = catalogue.put(new("one"))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: catalogue.describe(created.id, {"metadata": {f"field {n}": n}}), range(12)))
    assert catalogue.images()[0].metadata_ == {f"field {number}": number for number in range(12)}


def test_concurrent_puts_of_one_key_are_serialised(catalogue: Catalogue) -> None:
    with ThreadPoolExecutor(8) as threads:
        done = [item for items in threads.map(lambda n: catalogue.put(new("one", n)), range(16)) for item in items]
    assert sorted(item.status for item in done) == ["created"] + ["unchanged"] * 15
    assert {item.id for item in done} == {catalogue.images()[0].id}


def test_index_sync_finds_every_acknowledged_change(catalogue: Catalogue, tmp_path: Path) -> None:
    acknowledged: list[int] = []
    # Index sync may apply a delete before the writer's thread records it as done.
    deleting: list[int] = []
    deleted: list[int] = []

    def write(writer: int) -> None:
        for number in range(12):
            (done,) = catalogue.put(new(f"{writer} {number}", 100 * writer + number))
            acknowledged.append(done.id)
            if number % 4 == 3:
                deleting.append(done.id)
                catalogue.delete(done.id)
                deleted.append(done.id)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    with closing(VectorFile(tmp_path / "vectors", FEATURE_DIM)) as vectors:
        index = LocalIndex(BITS, vectors)
        index_sync = IndexSync(catalogue.database, index, catalogue.index_version_id, BITS)
        for writer in writers:
            writer.start()
        polls = 0
        while any(writer.is_alive() for writer in writers):
            expected, gone = set(acknowledged), set(deleted)
            index_sync.synced_index()
            found = set(index.all_candidates(None).ids.tolist())
            assert expected - found <= set(deleting)
            assert not found & gone
            polls += 1
        assert polls > 2, "syncs ran during the writes"
        index_sync.synced_index()
        assert set(index.all_candidates(None).ids.tolist()) == set(acknowledged) - set(deleted)
    by_seq = sorted(catalogue.encodings(), key=lambda encoding: encoding.seq)
    assert [encoding.image_id for encoding in by_seq] == sorted(encoding.image_id for encoding in by_seq)
