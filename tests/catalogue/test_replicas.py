"""Replicas that share a database and Milvus: each finds what any of them acknowledged."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from app.bootstrap import Service, build_service_with_encoder, index_locations
from app.catalogue import index_versions
from app.catalogue.database.sessions import Database
from app.catalogue.metadata_patch import MetadataPatch
from app.errors import LookalikeError, NotFoundError, UnavailableError
from app.ingest.embedding_writer import EmbeddingWriter
from app.ingest.uploads import Upload
from app.maintenance.reindex import Reindex
from app.maintenance.tools import open_sync
from app.model_switch.index_factory import open_index
from app.model_switch.networks import decode_limits
from app.search.decode.prepare import InProcessPreparer
from app.search.local.index import LocalIndex
from app.search.milvus.index import MilvusIndex
from app.search.types import Match, Mode, SearchOptions
from app.settings import Settings
from tests.catalogue.test_index_sync import add, agree, answer, ids, opened, picture
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.ingest.networks import fake_networks
from tests.milvus import running_milvus


@pytest.fixture
def replicas(in_milvus: Settings, tmp_path: Path) -> Iterator[tuple[Service, Service]]:
    """Two replicas that share originals, as on a network file system."""
    with ExitStack() as stack:
        yield opened(in_milvus, stack), opened(in_milvus, stack)


def test_replicas_agree_after_every_kind_of_change(replicas: tuple[Service, Service]) -> None:
    one, two = replicas
    added = [add((one, two)[at % 2], f"key {at}", at, "boots" if at % 3 else "hats") for at in range(12)]
    assert ids(one) == ids(two) == added
    two.ingest.delete(added[4])
    changed = add(one, "key 7", 70)
    assert ids(one) == ids(two) == [*added[:4], *added[5:]]
    assert (answer(two, 70)[0][0].id, answer(two, 70)[0][0].distance) == (changed, 0.0)
    assert answer(two, 7)[0][0].distance > 0
    with pytest.raises(NotFoundError):
        one.searcher.by_id(added[4], SearchOptions())
    one.ingest.update_metadata(added[0], MetadataPatch(label="boots"))
    assert answer(two, 0, label="boots")[0][0].id == added[0]
    assert all(agree(one, two, seed) for seed in range(15))
    assert len(one.index) == len(two.index) == 11


def test_replica_counts_images_in_milvus(replicas: tuple[Service, Service], in_milvus: Settings) -> None:
    one, _ = replicas
    for at in range(5):
        add(one, f"key {at}", at)
    with ExitStack() as stack:
        fresh = opened(in_milvus, stack)
        assert isinstance(fresh.index, MilvusIndex)
        assert len(fresh.index) == 5
        one.ingest.delete(ids(one)[0])
        add(one, "new", 50)
        one.ingest.delete(add(one, "brief", 51))
        fresh.index_sync.synced_index()
        assert len(fresh.index) == 5


def test_concurrent_additions_through_all_replicas_are_found(replicas: tuple[Service, Service]) -> None:
    def add_one(number: int) -> int:
        writer, reader = replicas[number % 2], replicas[1 - number % 2]
        new = add(writer, f"key {number}", number)
        match = answer(reader, number, Mode.HDS)[0][0]
        assert (match.id, match.distance, match.hamming) == (new, 0.0, 0)
        return new

    with ThreadPoolExecutor(6) as threads:
        added = list(threads.map(add_one, range(40)))
    assert ids(replicas[0]) == ids(replicas[1]) == sorted(added)


def test_image_is_found_while_it_is_replaced_repeatedly(replicas: tuple[Service, Service]) -> None:
    one, two = replicas
    kept = add(one, "changing", 0)
    for at in range(1, 6):
        add(one, f"other {at}", at)

    def look(_: int) -> set[int]:
        return {match.id for match, _, _ in answer(two, 0)}

    with ThreadPoolExecutor(3) as threads:
        looking = [threads.submit(look, turn) for turn in range(30)]
        for seed in range(100, 130):
            add(one, "changing", seed)
        assert all(kept in looked.result() and len(looked.result()) == 6 for looked in looking)


@pytest.mark.slow
def test_milvus_outage_raises_unavailable_and_recovers(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "milvus"
    folder.mkdir()
    with running_milvus(folder) as server, ExitStack() as stack:
        in_milvus = settings.model_copy(update={"index_backend": "milvus", "milvus_uri": server.uri})
        service = opened(in_milvus, stack)
        new = add(service, "one", 1)
        server.kill()
        for ask in (lambda: answer(service, 1), lambda: add(service, "two", 2), service.index.check_available):
            with pytest.raises(UnavailableError, match="Milvus"):
                ask()
        with pytest.raises(LookalikeError, match="Milvus at http"):
            opened(in_milvus, stack)
        server.start()
        assert answer(service, 1)[0][0].id == new
        assert add(service, "two", 2) in ids(service)
        service.index.check_available()


def test_reindex_moves_a_catalogue_to_milvus_and_back(in_milvus: Settings) -> None:
    local = in_milvus.model_copy(update={"index_backend": "local"})
    with ExitStack() as stack:
        database = stack.enter_context(closing(Database(str(local.database_url))))
        service = stack.enter_context(
            build_service_with_encoder(local, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT, fake_networks)
        )
        added = [add(service, f"key {at}", at) for at in range(8)]
        assert isinstance(service.index, LocalIndex)
        before = [answer(service, at) for at in range(8)]
        reindex(service, in_milvus)
        for at in range(8):
            assert_same(answer(service, at), before[at])
        assert isinstance(service.index, MilvusIndex)
        add(service, "new", 50)
        reindex(service, local)
        assert answer(service, 50)[0][0].distance == 0
        assert ids(service)[:8] == added


Found = list[tuple[Match, str, str | None]]


def assert_same(one: Found, two: Found) -> None:
    """Compare results; float sums in another order may differ in the last digit."""
    assert [(match.id, match.hamming, key) for match, key, _ in one] == [(m.id, m.hamming, key) for m, key, _ in two]
    np.testing.assert_allclose([match.distance for match, *_ in one], [m.distance for m, *_ in two], rtol=1e-6)


def reindex(service: Service, settings: Settings) -> None:
    """Reindex as `lookalike reindex` does, with the fake network."""
    encoder = FakeEncoder()
    with service.database.transaction() as session:
        index_version = index_versions.find_or_create(
            session, FAKE_NETWORK, FAKE_CHECKPOINT, index=settings.index_backend
        )
    with closing(open_index(service.database, index_version, index_locations(settings))) as index:
        prepare = InProcessPreparer(FAKE_NETWORK.preprocess, decode_limits(settings))
        encodings = EmbeddingWriter(service.database, prepare, encoder, index, index_version.id)
        Reindex(service.database, service.storage, encodings).run(lambda *_: None)


def test_index_backend_setting_applies_to_empty_catalogues_only(
    in_milvus: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    local = in_milvus.model_copy(update={"index_backend": "local"})
    with ExitStack() as stack:
        opened(local, stack)
    with ExitStack() as stack:
        service = opened(in_milvus, stack)
        assert isinstance(service.index, MilvusIndex)
        service.ingest.add([Upload(picture(1), "one", {})])
    with ExitStack() as stack:
        assert isinstance(opened(local, stack).index, MilvusIndex)
    assert "the catalogue keeps its index backend (milvus)" in caplog.text
    with ExitStack() as stack, pytest.raises(LookalikeError, match="LOOKALIKE_MILVUS_URI"):
        opened(local.model_copy(update={"milvus_uri": None}), stack)


def test_milvus_lite_file_is_for_one_process(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "lite.db"
    in_file = settings.model_copy(update={"index_backend": "milvus", "milvus_uri": str(file)})
    script = "import sys, pymilvus; c = pymilvus.MilvusClient(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"open\n"
    with ExitStack() as stack, pytest.raises(LookalikeError, match="Only one process can use"):
        opened(in_file, stack)
    other.communicate(b"")
    with ExitStack() as stack:
        service = opened(in_file, stack)
        assert answer(service, add(service, "one", 1))
    with pytest.raises(ValueError, match="only one process"):
        Settings(index_backend="milvus", milvus_uri=str(file), workers=2, _env_file=None)
    with pytest.raises(ValueError, match="neither an address"):
        Settings(index_backend="milvus", milvus_uri="localhost:19530", _env_file=None)
    with pytest.raises(ValueError, match="is required for Milvus"):
        Settings(index_backend="milvus", milvus_uri=None, _env_file=None)


def test_sync_of_a_local_index_is_refused(settings: Settings) -> None:
    with pytest.raises(LookalikeError, match="check --repair"), open_sync(settings):
        pass
