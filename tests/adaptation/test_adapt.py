"""Codes fitted to a catalogue: switching to them, judging them, and what interrupts it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage
from sqlalchemy import Select, func, select

from app.adaptation import adapt as adapting
from app.adaptation.adapt import Adaptation, AdaptationRunningError, adapt
from app.adaptation.fill import FeatureFiller
from app.bootstrap import Service, index_locations, open_fsync_guard
from app.catalogue import index_versions, queries
from app.catalogue.database.locks import Lock, lock_if_free
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState, Encoding, FeatureSet, Image, IndexVersion
from app.catalogue.encodings import put_encodings
from app.errors import LookalikeError, NotFoundError
from app.ingest.uploads import Upload
from app.search.types import Mode, SearchOptions
from app.settings import Settings
from models.checkpoint.info import CheckpointInfo
from models.checkpoint.similarity import AnchoredCurve, Similarity
from models.network.latent_layer import LatentLayer, fit_latent_layer
from tests.fakes import FAKE_NETWORK, FakeEncoder
from tests.images import encoded
from tests.ingest.networks import OTHER_NETWORK, OtherEncoder
from tests.ingest.test_reindex import reindex_with

COUNT = 120


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "MIN_IMAGES", 60)


def picture(seed: int) -> bytes:
    """An image of one of six kinds; images of a kind differ little."""
    rng, kind = np.random.default_rng(seed), np.random.default_rng(seed % 6)
    pixels = kind.integers(0, 256, (4, 4, 3)) + rng.integers(-40, 40, (4, 4, 3))
    return encoded(
        PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((40, 40), PILImage.Resampling.NEAREST)
    )


def uploads(first: int, count: int) -> list[Upload]:
    return [Upload(picture(seed), f"key-{seed}", {"label": f"kind-{seed % 6}"}) for seed in range(first, first + count)]


def describe(model: str) -> CheckpointInfo:
    return {"fake": FAKE_NETWORK, "other": OTHER_NETWORK}[model.rpartition("/")[2].removesuffix(".json")]


def run(
    database: Database,
    settings: Settings,
    report: Callable[[str, int, int], None] = lambda *_: None,
    described: Callable[[str], CheckpointInfo] = describe,
    patience: float = 60,
) -> Adaptation:
    return adapt(database, index_locations(settings), open_fsync_guard(settings), report, patience, described)


@pytest.fixture
def filled(service: Service) -> Service:
    service.ingest.add(uploads(0, COUNT))
    return service


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


def test_moving_back_encodes_only_new_images_and_keeps_their_slots(
    filled: Service, settings: Settings, database: Database
) -> None:
    run(database, settings)
    filled.ingest.add(uploads(500, 3))
    before = slots_by_image(database)
    encoder = FakeEncoder()
    seen = list[int]()
    original = encoder.encode_many

    def counting(images: object) -> object:
        seen.append(len(images))  # type: ignore[arg-type]  # a list of images
        return original(images)  # type: ignore[arg-type]  # a list of images

    encoder.encode_many = counting  # type: ignore[method-assign,assignment]  # counts what is encoded
    reindex_with(settings, database, encoder, FAKE_NETWORK, lambda *_: None)
    assert sum(seen) == 3
    assert slots_by_image(database) == before
    first, _ = filled.searcher.by_image(picture(501), SearchOptions(k=1)).matches[0]
    assert (first.distance, first.hamming) == (0.0, 0)
    assert filled.model_info.fingerprint == FAKE_NETWORK.fingerprint


def slots_by_image(database: Database) -> dict[int, int]:
    with database.read_session() as session:
        active = index_versions.active_version_id(session)
        rows = session.execute(select(Encoding.image_id, Encoding.slot).where(Encoding.index_version_id == active))
        return dict(rows.all())


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


def versions(database: Database) -> int:
    with database.read_session() as session:
        return session.scalar(select(func.count(IndexVersion.id))) or 0


def test_taught_codes_stay_unless_precision_rises(filled: Service, settings: Settings, database: Database) -> None:
    def taught(model: str) -> CheckpointInfo:
        return replace(describe(model), classes=("one", "two"))

    result = run(database, settings, described=taught)
    assert result.before.precision is not None
    assert result.after.precision is not None
    rises = result.after.precision > result.before.precision + 0.005
    assert result.outcome == ("adapted" if rises else "refused")


def test_damaged_vectors_leave_the_catalogue_as_it_is(filled: Service, settings: Settings, database: Database) -> None:
    if settings.index_backend != "local":
        pytest.skip("Milvus ensures the integrity of its vectors")
    (file,) = (settings.data_dir / "vectors").glob("*.f*")
    with file.open("r+b") as opened:
        opened.seek(200)
        opened.write(b"\xff\xff\xff")
    with pytest.raises(LookalikeError, match=r"damaged.*check --repair"):
        run(database, settings)
    assert versions(database) == 1
    filled.searcher.by_id(90, SearchOptions())


def test_interrupted_run_leaves_nothing_that_the_next_one_keeps(
    filled: Service, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as session:
        active = queries.active_index_version(session)
        assert active is not None
        codes = index_versions.AdaptedCodes(some_latent(), 30, None)
        killed = index_versions.create_adapted(session, active.feature_set_id, codes)
    assert versions(database) == 2
    run(database, settings)
    with database.read_session() as session:
        assert session.get(IndexVersion, killed.id) is None
    assert versions(database) == 2

    def fail(*_: object) -> None:
        raise LookalikeError("no space")

    monkeypatch.setattr(FeatureFiller, "fill", fail)
    monkeypatch.setattr(adapting, "_MIN_GAIN", -1)
    with pytest.raises(LookalikeError, match="no space"):
        run(database, settings)
    assert versions(database) == 2


def some_latent() -> LatentLayer:
    weights = np.random.default_rng(0).normal(size=(16, 48)).astype(np.float32)
    return fit_latent_layer(weights, np.zeros(16, np.float32), np.ones((1, 48), np.float32))


def test_one_process_at_a_time(filled: Service, settings: Settings, database: Database) -> None:
    with lock_if_free(database, Lock.ADAPT) as acquired:
        assert acquired
        with pytest.raises(AdaptationRunningError):
            run(database, settings)
    assert run(database, settings).outcome == "adapted"


def test_switch_to_another_model_meanwhile_wins(filled: Service, settings: Settings, database: Database) -> None:
    moved = list[bool]()

    def report(step: str, _done: int, _total: int) -> None:
        if step == "computing codes" and not moved:
            moved.append(True)
            reindex_with(settings, database, OtherEncoder(), OTHER_NETWORK, lambda *_: None)

    with pytest.raises(LookalikeError, match="switched to another model meanwhile"):
        run(database, settings, report)
    with database.read_session() as session:
        active = queries.active_index_version(session)
    assert active is not None
    assert active.fingerprint == OTHER_NETWORK.fingerprint


def test_images_added_and_deleted_during_the_run(filled: Service, settings: Settings, database: Database) -> None:
    added = list[int]()

    def report(step: str, done: int, _total: int) -> None:
        if step == "computing codes" and not added:
            added.extend(one.id or 0 for one in filled.ingest.add(uploads(3000, 5)))
            filled.ingest.delete(7)
            filled.ingest.add([Upload(picture(4000), "key-10", {})])

    assert run(database, settings, report).outcome == "adapted"
    for seed, image_id in zip(range(3000, 3005), added, strict=True):
        first, _ = filled.searcher.by_image(picture(seed), SearchOptions(k=1)).matches[0]
        assert (first.id, first.distance, first.hamming) == (image_id, 0.0, 0)
    first, _ = filled.searcher.by_image(picture(4000), SearchOptions(k=1)).matches[0]
    assert (first.id, first.distance) == (11, 0.0)
    with database.read_session() as session:
        active = index_versions.active_version_id(session)
        count = session.scalar(select(func.count()).where(Encoding.index_version_id == active))
    assert count == COUNT + 5 - 1


def test_repaired_vectors_take_codes_of_other_versions_with_them(
    filled: Service, settings: Settings, database: Database
) -> None:
    """An old version must not refer to a slot that was given up; it gets the code back when it is filled."""
    run(database, settings)
    filled.searcher.by_id(1, SearchOptions())
    writer = filled.embedding_writer
    with database.read_session() as session:
        image = session.get_one(Image, 9)
    encodings = writer.encode_originals(filled.storage, [image])
    with database.transaction() as session:
        put_encodings(session, writer.index_version_id, encodings)
    with database.read_session() as session:
        rows = session.execute(select(Encoding.index_version_id, Encoding.slot).where(Encoding.image_id == 9)).all()
        assert [tuple(row) for row in rows] == [(writer.index_version_id, encodings[0][1].slot)]
        assert session.scalar(select(CatalogueState.index_version_id)) == writer.index_version_id
    reindex_with(settings, database, FakeEncoder(), FAKE_NETWORK, lambda *_: None)
    first, _ = filled.searcher.by_id(9, SearchOptions(k=1)).matches[0]
    assert (first.id, first.distance, first.hamming) == (9, 0.0, 0)
