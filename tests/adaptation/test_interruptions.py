"""Adapting a damaged catalogue, killed, twice at once, and while the catalogue changes."""

import numpy as np
import pytest
from sqlalchemy import func, select

from app.adaptation import adapt as adapting
from app.adaptation.adapt import AdaptationRunningError
from app.adaptation.fill import FeatureFiller
from app.bootstrap import Service
from app.catalogue import index_versions, queries
from app.catalogue.database.locks import Lock, lock_if_free
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState, Encoding, Image, IndexVersion
from app.catalogue.encodings import put_encodings
from app.errors import LookalikeError
from app.ingest.uploads import Upload
from app.search.types import SearchOptions
from app.settings import Settings
from models.network.latent_layer import LatentLayer, fit_latent_layer
from tests.adaptation.catalogue import COUNT, picture, run, uploads, versions
from tests.fakes import FAKE_NETWORK, FakeEncoder
from tests.ingest.networks import OTHER_NETWORK, OtherEncoder
from tests.ingest.test_reindex import reindex_with
from tests.vector_files import vector_file


def test_damaged_vectors_leave_the_catalogue_as_it_is(filled: Service, settings: Settings, database: Database) -> None:
    file = vector_file(filled).path
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
