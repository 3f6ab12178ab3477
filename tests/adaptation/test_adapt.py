"""Codes fitted to a catalogue: switching to them, judging them, and moving back."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Select, func, select

from app.bootstrap import Service
from app.catalogue import index_versions, queries
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, FeatureSet, IndexVersion
from app.errors import LookalikeError, NotFoundError
from app.ingest.uploads import Upload
from app.search.encode.batching import NetworkInput
from app.search.types import Encodings, Mode, SearchOptions
from app.settings import Settings
from models.checkpoint.info import CheckpointInfo
from models.checkpoint.similarity import AnchoredCurve, Similarity
from tests.adaptation.catalogue import COUNT, describe, picture, run, slots_by_image, uploads, versions
from tests.fakes import FAKE_NETWORK, FakeEncoder
from tests.ingest.test_reindex import reindex_with


def test_adapted_catalogue_finds_every_image_by_upload_and_by_id(
    filled: Service, settings: Settings, database: Database
) -> None:
    steps = list[tuple[str, int, int]]()
    result = run(database, settings, lambda *step: steps.append(step))
    assert result.outcome == "adapted"
    assert result.after.codes > result.before.codes
    assert result.after.recall >= 0.99
    assert steps[-1] == ("computing codes", COUNT, COUNT)
    for seed in range(0, COUNT, 7):
        for mode in Mode:
            options = SearchOptions(k=5, mode=mode)
            by_upload = filled.searcher.by_image(picture(seed), options)
            first = by_upload.matches[0][0]
            # Codes of two images may be equal.
            assert mode is Mode.BCS or first.id == seed + 1
            assert (first.distance, first.hamming) == (0.0, 0)
            by_id = filled.searcher.by_id(seed + 1, options)
            assert [match for match, _ in by_id.matches] == [match for match, _ in by_upload.matches]
    info = filled.model_info
    assert (info.bits, info.name) == (48, "fake")
    assert info.fingerprint != FAKE_NETWORK.fingerprint


def test_similarity_of_adapted_codes_follows_that_of_f7(
    filled: Service, settings: Settings, database: Database
) -> None:
    curve = AnchoredCurve(((0.5, 0.9), (1.5, 0.5), (4.0, 0.1)))

    def calibrated(model: str) -> CheckpointInfo:
        return replace(describe(model), similarity=Similarity("one label", curve, curve, 0.1, 0.2))

    run(database, settings, described=calibrated)
    with database.read_session() as session:
        active = queries.active_index_version(session)
    assert active is not None
    similarity = index_versions.effective_info(active, calibrated("fake")).similarity
    assert similarity is not None
    assert similarity.features == curve
    assert similarity.codes(0) == 1 > similarity.codes(1) >= similarity.codes(10) > similarity.codes(24) > 0


def test_adapted_version_shares_slots_and_network(filled: Service, settings: Settings, database: Database) -> None:
    encoder = filled.model_switch.active.encoder
    run(database, settings)
    filled.searcher.by_id(1, SearchOptions())
    with database.read_session() as session:
        slots = [
            session.scalars(
                select(Encoding.slot).where(Encoding.index_version_id == one).order_by(Encoding.image_id)
            ).all()
            for one in session.scalars(select(IndexVersion.id))
        ]
        assert session.scalar(select(func.count(FeatureSet.id))) == 1
    assert len(slots) == 2
    assert slots[0] == slots[1]
    assert filled.model_switch.active.encoder is encoder
    assert filled.model_switch.active.embedding_writer.compute_code(picture(1)) == code_of(database, 2)


def of_version(index_version_id: int) -> Select[int]:
    return select(Encoding.slot).where(Encoding.index_version_id == index_version_id)


def code_of(database: Database, image_id: int) -> bytes:
    with database.read_session() as session:
        active = index_versions.active_version_id(session)
        return session.get_one(Encoding, (active, image_id)).code


def test_images_added_replaced_and_deleted_afterwards(filled: Service, settings: Settings, database: Database) -> None:
    run(database, settings)
    (new,) = filled.ingest.add(uploads(1000, 1))
    filled.ingest.add([Upload(picture(2000), "key-3", {})])
    filled.ingest.delete(5)
    first, _ = filled.searcher.by_image(picture(1000), SearchOptions(k=1)).matches[0]
    assert (first.id, first.distance, first.hamming) == (new.id, 0.0, 0)
    first, _ = filled.searcher.by_image(picture(2000), SearchOptions(k=1)).matches[0]
    assert (first.id, first.distance) == (4, 0.0)
    with pytest.raises(NotFoundError):
        filled.searcher.by_id(5, SearchOptions())


class CountingEncoder(FakeEncoder):
    """A fake encoder that counts the images that it encodes."""

    encoded = 0

    def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
        self.encoded += len(images)
        return super().encode_many(images)


def test_moving_back_encodes_only_new_images_and_keeps_their_slots(
    filled: Service, settings: Settings, database: Database
) -> None:
    run(database, settings)
    filled.ingest.add(uploads(500, 3))
    before = slots_by_image(database)
    encoder = CountingEncoder()
    reindex_with(settings, database, encoder, FAKE_NETWORK, lambda *_: None)
    assert encoder.encoded == 3
    assert slots_by_image(database) == before
    first, _ = filled.searcher.by_image(picture(501), SearchOptions(k=1)).matches[0]
    assert (first.distance, first.hamming) == (0.0, 0)
    assert filled.model_info.fingerprint == FAKE_NETWORK.fingerprint


def test_too_few_images(service: Service, settings: Settings, database: Database) -> None:
    service.ingest.add(uploads(0, 10))
    with pytest.raises(LookalikeError, match="needs 60 images, and the catalogue has 10"):
        run(database, settings)


def test_one_image_many_times_keeps_its_codes(service: Service, settings: Settings, database: Database) -> None:
    service.ingest.add([Upload(picture(1), f"copy-{number}", {}) for number in range(COUNT)])
    result = run(database, settings)
    assert result.outcome == "refused"
    assert versions(database) == 1
    assert "gain too little" in str(result)
    with database.read_session() as session:
        recorded = index_versions.last_adaptation(session)
    assert recorded is not None
    assert (recorded["outcome"], recorded["images"]) == ("refused", COUNT)


def test_taught_codes_stay_unless_precision_rises(filled: Service, settings: Settings, database: Database) -> None:
    def taught(model: str) -> CheckpointInfo:
        return replace(describe(model), classes=("one", "two"))

    result = run(database, settings, described=taught)
    assert result.before.precision is not None
    assert result.after.precision is not None
    rises = result.after.precision > result.before.precision + 0.005
    assert result.outcome == ("adapted" if rises else "refused")
