"""Index versions of the catalogue."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from app.catalogue import index_versions, queries
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import CatalogueState, Image, IndexVersion
from app.errors import ModelMismatchError
from models.checkpoint.info import PRETRAINED, CheckpointInfo
from tests.fakes import BITS, FAKE_CHECKPOINT, FAKE_NETWORK, FEATURE_DIM

OTHER = replace(FAKE_NETWORK, name="other", fingerprint="0" * 16, bits=48, feature_dim=9)


def adopt(database: Database, network: CheckpointInfo) -> int:
    with database.transaction() as session:
        return index_versions.activate_for(session, network, FAKE_CHECKPOINT).id


def seq(database: Database) -> int:
    with database.read_session() as session:
        return session.scalars(select(CatalogueState.seq)).one()


def add_picture(database: Database) -> None:
    facts = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    with database.transaction() as session:
        session.add(Image(key="one", metadata_={}, **facts))


def test_new_catalogue_adopts_the_first_network(database: Database) -> None:
    adopted = adopt(database, FAKE_NETWORK)
    with database.read_session() as session:
        index_version = queries.active_index_version(session)
    assert index_version is not None
    assert (index_version.id, index_version.fingerprint, index_version.feature_set.model) == (
        adopted,
        FAKE_NETWORK.fingerprint,
        str(FAKE_CHECKPOINT.resolve()),
    )
    assert (index_version.bits, index_version.feature_set.feature_dim, index_version.feature_set.next_slot) == (
        BITS,
        FEATURE_DIM,
        0,
    )


def test_adopting_the_active_network_changes_nothing(database: Database) -> None:
    first = adopt(database, FAKE_NETWORK)
    before = seq(database)
    # Name and metrics do not affect the codes.
    assert adopt(database, replace(FAKE_NETWORK, name="renamed", metrics={"map": 1})) == first
    assert seq(database) == before


def test_empty_catalogue_switches_network_as_a_change(database: Database) -> None:
    first, before = adopt(database, FAKE_NETWORK), seq(database)
    second = adopt(database, OTHER)
    assert second != first
    assert seq(database) == before + 1
    with database.read_session() as session:
        assert session.scalars(select(CatalogueState.index_version_id)).one() == second


def test_returning_network_gets_its_index_version_back(database: Database) -> None:
    first = adopt(database, FAKE_NETWORK)
    adopt(database, OTHER)
    assert adopt(database, FAKE_NETWORK) == first


def test_default_model_is_the_active_one(database: Database) -> None:
    with database.read_session() as session:
        assert index_versions.select_model(session, None) == index_versions.DEFAULT_MODEL
    adopt(database, FAKE_NETWORK)
    with database.read_session() as session:
        assert index_versions.select_model(session, None) == str(FAKE_CHECKPOINT.resolve())
        assert index_versions.select_model(session, "wished") == "wished"


def test_shipped_network_is_stored_by_name(database: Database) -> None:
    with database.transaction() as session:
        index_versions.activate_for(session, FAKE_NETWORK, PRETRAINED / "fake.json")
    with database.read_session() as session:
        assert index_versions.select_model(session, None) == "fake"


def test_nonempty_catalogue_refuses_another_network(database: Database) -> None:
    first, before = adopt(database, FAKE_NETWORK), seq(database)
    add_picture(database)
    with pytest.raises(ModelMismatchError) as caught:
        adopt(database, OTHER)
    for word in (
        "fake",
        "other",
        FAKE_NETWORK.fingerprint,
        OTHER.fingerprint,
        "lookalike reindex fake",
        "LOOKALIKE_MODEL",
    ):
        assert word in str(caught.value)
    assert adopt(database, FAKE_NETWORK) == first
    assert seq(database) == before


def test_concurrent_starts_share_one_index_version(database: Database) -> None:
    with ThreadPoolExecutor(4) as threads:
        adopted = set(threads.map(lambda _: adopt(database, FAKE_NETWORK), range(4)))
    assert len(adopted) == 1
    with database.read_session() as session:
        assert session.scalar(select(func.count(IndexVersion.id))) == 1


def test_float16_vectors_are_a_separate_index_version(database: Database) -> None:
    first = adopt(database, FAKE_NETWORK)
    add_picture(database)
    with database.transaction() as session:
        assert index_versions.activate_for(session, FAKE_NETWORK, FAKE_CHECKPOINT, "f16").id == first, (
            "the active one stays"
        )
        float16_version = index_versions.find_or_create(session, FAKE_NETWORK, FAKE_CHECKPOINT, "f16")
        assert (float16_version.id != first, float16_version.feature_set.vector_dtype) == (True, "f16")
        assert index_versions.find_or_create(session, FAKE_NETWORK, FAKE_CHECKPOINT, "f16").id == float16_version.id
        assert index_versions.find_or_create(session, FAKE_NETWORK, FAKE_CHECKPOINT).id == first
