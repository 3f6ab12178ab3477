"""Reindex: switch a catalogue to another network, while it is in use and after interruptions."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.bootstrap import Service, build_service_with_encoder, index_locations
from app.catalogue import index_versions
from app.catalogue.advisory_registry import VersionUse, version_locks
from app.catalogue.database.sessions import Database
from app.catalogue.storage.local import LocalStorage
from app.errors import (
    DamagedOriginalError,
    DecodingUnavailableError,
    LookalikeError,
    ModelMismatchError,
    UnavailableError,
)
from app.ingest.embedding_writer import EmbeddingWriter
from app.ingest.uploads import Upload
from app.maintenance.reindex import Reindex
from app.model_switch.index_factory import open_index
from app.search.encode.batching import NetworkInput
from app.search.types import Encodings, SearchOptions
from app.settings import Settings
from models.checkpoint.info import CheckpointInfo
from tests.crash.ledger import Ledger, numbered_image
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.images import encoded, gradient
from tests.ingest.networks import OTHER_CHECKPOINT, OTHER_NETWORK, OtherEncoder, Preparing, fake_networks
from tests.ingest.server import serving


def pictures(*sizes: int) -> list[Upload]:
    return [Upload(encoded(gradient(size, 40)), f"key-{size}", {}) for size in sizes]


def reindex(
    service: Service, encoder: FakeEncoder, network: CheckpointInfo = OTHER_NETWORK, patience: float = 60
) -> list[tuple[int, int]]:
    """Reindex with another network; return the reported progress."""
    reports: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        reports.append((done, total))

    reindex_with(service.settings, service.database, encoder, network, report, patience)
    return reports


def reindex_with(
    settings: Settings,
    database: Database,
    encoder: FakeEncoder,
    network: CheckpointInfo,
    report: Callable[[int, int], None],
    patience: float = 60,
) -> None:
    with database.transaction() as session:
        index_version = index_versions.find_or_create(
            session, network, Path(f"{network.name}.json"), index=settings.index_backend
        )
    with closing(open_index(database, index_version, index_locations(settings))) as index:
        prepare = Preparing(encoder, settings)
        encodings = EmbeddingWriter(database, prepare, encoder, index, index_version.id)
        Reindex(database, LocalStorage(settings.data_dir / "pictures"), encodings).run(report, patience)


def test_reindexed_catalogue_finds_every_image(service: Service, settings: Settings, database: Database) -> None:
    uploads = pictures(*range(40, 120))
    ids = [added.id for added in service.ingest.add(uploads)]
    reports = reindex(service, OtherEncoder())
    assert reports[-1] == (80, 80)
    with build_service_with_encoder(settings, database, OtherEncoder(), OTHER_NETWORK, OTHER_CHECKPOINT) as moved:
        for upload, image_id in zip(uploads, ids, strict=True):
            first, _ = moved.searcher.by_image(upload.data, SearchOptions(k=1)).matches[0]
            assert (first.id, first.distance, first.hamming) == (image_id, 0.0, 0)


def test_service_without_the_new_network_raises_unavailable(service: Service) -> None:
    service.ingest.add(pictures(50))
    reindex(service, OtherEncoder())
    with pytest.raises(UnavailableError, match=r"There is no checkpoint .*other\.json.*`lookalike reindex`"):
        service.searcher.by_id(1, SearchOptions())


def test_service_switches_to_the_new_network_and_back(settings: Settings, database: Database) -> None:
    with build_service_with_encoder(
        settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT, fake_networks
    ) as service:
        service.ingest.add(pictures(50, 51, 52))
        for encoder, network in ((OtherEncoder(), OTHER_NETWORK), (FakeEncoder(), FAKE_NETWORK)):
            reindex(service, encoder, network)
            (first, _), *_ = service.searcher.by_image(pictures(51)[0].data, SearchOptions()).matches
            assert (first.id, first.distance, first.hamming) == (2, 0.0, 0)
            assert service.model_info.fingerprint == network.fingerprint
            assert service.ingest.add(pictures(51))[0].status == "unchanged"


def test_addition_during_the_switch_is_encoded_by_the_new_network(settings: Settings, database: Database) -> None:
    interruptions = list[Callable[[], object]]()

    class Interrupting(FakeEncoder):
        def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
            if interruptions:
                interruptions.pop()()
            return super().encode_many(images)

    with build_service_with_encoder(
        settings, database, Interrupting(), FAKE_NETWORK, FAKE_CHECKPOINT, fake_networks
    ) as service:
        interruptions.append(lambda: reindex(service, OtherEncoder()))
        (added,) = service.ingest.add(pictures(50))
        answer = service.searcher.by_image(pictures(50)[0].data, SearchOptions(k=1))
        assert answer.model == OTHER_NETWORK.fingerprint
        assert (answer.matches[0][0].id, answer.matches[0][0].distance) == (added.id, 0.0)


def test_reindex_fails_if_a_service_cannot_open_the_network(service: Service, database: Database) -> None:
    service.ingest.add(pictures(50))
    in_use = service.model_switch.active.index_version_id
    with version_locks(database) as other:
        other.hold_only(VersionUse.OPEN, {in_use})
        with pytest.raises(LookalikeError, match="1 of the running services cannot open the network"):
            reindex(service, OtherEncoder(), patience=0.1)
    assert len(service.searcher.by_id(1, SearchOptions()).matches) == 1
    rest = OtherEncoder()
    reindex(service, rest)
    assert rest.pictures == 0


def test_start_with_the_old_network_raises_model_mismatch(
    service: Service, settings: Settings, database: Database
) -> None:
    service.ingest.add(pictures(50))
    reindex(service, OtherEncoder())
    with (
        pytest.raises(ModelMismatchError, match="lookalike reindex"),
        build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT),
    ):
        pass


def test_interrupted_reindex_resumes(service: Service) -> None:
    class Interrupted(OtherEncoder):
        def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
            if self.pictures:
                raise KeyboardInterrupt
            return super().encode_many(images)

    service.ingest.add(pictures(*range(40, 140)))
    with pytest.raises(KeyboardInterrupt):
        reindex(service, Interrupted())
    assert len(service.searcher.by_id(1, SearchOptions()).matches) == 10  # the old network still answers
    rest = OtherEncoder()
    reindex(service, rest)
    assert rest.pictures == 100 - 64


def test_images_added_and_replaced_meanwhile_are_encoded(
    service: Service, settings: Settings, database: Database
) -> None:
    class Busy(OtherEncoder):
        def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
            if not self.pictures:
                service.ingest.add([*pictures(300), Upload(encoded(gradient(200, 40)), "key-50", {})])
                service.ingest.delete(2)
            return super().encode_many(images)

    service.ingest.add(pictures(50, 51, 52))
    reindex(service, Busy())
    with build_service_with_encoder(settings, database, OtherEncoder(), OTHER_NETWORK, OTHER_CHECKPOINT) as moved:
        assert len(moved.index_sync.synced_index()) == 3
        replaced = moved.searcher.by_image(encoded(gradient(200, 40)), SearchOptions(k=1)).matches[0]
        added = moved.searcher.by_image(pictures(300)[0].data, SearchOptions(k=1)).matches[0]
        assert (replaced[1].key, replaced[0].distance) == ("key-50", 0.0)
        assert (added[1].key, added[0].distance) == ("key-300", 0.0)


def test_switching_back_encodes_only_newer_images(service: Service, settings: Settings, database: Database) -> None:
    service.ingest.add(pictures(50, 51, 52))
    reindex(service, OtherEncoder())
    with build_service_with_encoder(settings, database, OtherEncoder(), OTHER_NETWORK, OTHER_CHECKPOINT) as moved:
        moved.ingest.add([*pictures(53), Upload(encoded(gradient(200, 40)), "key-50", {})])
    encoder = OtherEncoder()
    with database.transaction() as session:
        index_version = index_versions.find_or_create(
            session, FAKE_NETWORK, FAKE_CHECKPOINT, index=settings.index_backend
        )
    with closing(open_index(database, index_version, index_locations(settings))) as index:
        prepare = Preparing(encoder, settings)
        encodings = EmbeddingWriter(database, prepare, encoder, index, index_version.id)
        Reindex(database, service.storage, encodings).run(lambda *_: None)
    assert encoder.pictures == 2


def test_damaged_original_is_reported(service: Service) -> None:
    service.ingest.add(pictures(50))
    original = next(iter(service.storage.hashes()))
    LocalStorage(service.settings.data_dir / "pictures").original(original).write_bytes(
        b"\xff\xd8\xff\xe0 no longer a picture"
    )
    with pytest.raises(DamagedOriginalError, match=r"image 1 \(key-50\)"):
        reindex(service, OtherEncoder())


class Busy(OtherEncoder):
    """Raises DecodingUnavailableError for the first `failures` images."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures, self._one = failures, threading.Lock()

    def before_preparing(self) -> None:
        with self._one:
            if self.failures:
                self.failures -= 1
                raise DecodingUnavailableError("The machine is too busy.")


def test_busy_machine_is_retried(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.decode.retries.PAUSES_S", (0.01,) * 5)
    service.ingest.add(pictures(*range(50, 60)))
    encoder = Busy(5)
    assert reindex(service, encoder)[-1] == (10, 10)
    assert (encoder.failures, encoder.pictures) == (0, 10)


def test_switch_does_not_retry_while_additions_are_blocked(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.decode.retries.PAUSES_S", ())
    service.ingest.add(pictures(50))
    encoder = Busy(0)

    def add_one(done: int, total: int) -> None:
        """Add an image after the fill, so that the switch has to encode it."""
        if (done, total) == (1, 1):
            service.ingest.add(pictures(51))
            encoder.failures = 1

    reindex_with(service.settings, service.database, encoder, OTHER_NETWORK, add_one)
    assert (encoder.failures, encoder.pictures) == (0, 2)


def test_original_above_a_lowered_limit_is_reported_with_the_setting(service: Service) -> None:
    service.ingest.add(pictures(50))
    lower = service.settings.model_copy(update={"max_image_pixels": 100})
    with pytest.raises(LookalikeError, match=r"^Image 1 \(key-50\): .* Raise LOOKALIKE_MAX_IMAGE_PIXELS, or delete"):
        reindex_with(lower, service.database, OtherEncoder(), OTHER_NETWORK, lambda *_: None)


def test_image_deleted_while_it_is_encoded_is_skipped(service: Service) -> None:
    class Deleting(OtherEncoder):
        def before_preparing(self) -> None:
            with gone:
                if deleted:
                    service.ingest.delete(deleted.pop())

    gone, deleted = threading.Lock(), [3, 2]
    service.ingest.add(pictures(*range(50, 60)))
    reports = reindex(service, Deleting())
    assert reports[-1][0] >= 8


@pytest.mark.slow
def test_switches_under_load_cause_no_errors(settings: Settings, database: Database) -> None:
    """Two processes with adding, deleting and searching threads: no errors, no lost acknowledged changes."""
    ledger, errors, codes = Ledger(), list[BaseException](), set[int]()
    with ExitStack() as stack:
        clients = [stack.enter_context(serving(settings)) for _ in range(2)]
        for client in clients:
            client.event_hooks = {"response": [lambda answer: codes.add(answer.status_code)]}
        ledger.add(clients[0], 100)
        ending = threading.Event()

        def repeat(client: httpx2.Client, call: Callable[[httpx2.Client], None]) -> None:
            try:
                while not ending.is_set():
                    call(client)
            except BaseException as error:
                errors.append(error)

        def add_here_and_search_there(client: httpx2.Client) -> None:
            ledger.add(client, 2)
            ledger.search(clients[0] if client is clients[1] else clients[1])

        calls = (add_here_and_search_there, ledger.search, ledger.delete)
        threads = [threading.Thread(target=repeat, args=(client, call)) for client in clients for call in calls]
        for thread in threads:
            thread.start()
        moving = list[Any]()

        def report(_done: int, _total: int) -> None:
            moving.append(clients[0].get("/stats").json()["reindexing"])

        try:
            for encoder, network in ((OtherEncoder(), OTHER_NETWORK), (FakeEncoder(), FAKE_NETWORK)):
                time.sleep(1)
                reindex_with(settings, database, encoder, network, report)
                for client in clients:
                    answer = client.post("/search", files={"image": numbered_image(1)}).json()
                    assert answer["model_fingerprint"] == network.fingerprint
                assert moving[0]["fingerprint"] == network.fingerprint
                moving.clear()
            time.sleep(1)
        finally:
            ending.set()
            for thread in threads:
                thread.join()
        assert errors == []
        assert codes <= {200, 201, 204, 404}, codes
        assert not ledger.unknown
        assert len(ledger.stored) + len(ledger.deleted) > 120
        assert len(ledger.deleted) > 10
        for client in clients:
            ledger.check(client, most=15)
