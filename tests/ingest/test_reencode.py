from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pytest
from PIL import Image

from app.catalogue import generations
from app.catalogue.database import Database
from app.errors import DamagedOriginalError, ModelMismatchError, UnavailableError
from app.ingest.add import Upload
from app.ingest.encodings import Encodings
from app.ingest.reencode import Reencode
from app.lifespan import Service, assemble, limits_of, open_vectors
from app.search.prepare import InProcess
from app.search.types import Encoded, SearchOptions
from app.settings import Settings
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.pictures import encoded, gradient

OTHER_NETWORK = replace(FAKE_NETWORK, name="other", fingerprint="0123456789abcdef")
OTHER_CHECKPOINT = FAKE_CHECKPOINT.with_name("other.json")


class OtherEncoder(FakeEncoder):
    """Encodes like the fake, with every bit turned and F7 the other way round; remembers how much it did."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = 0

    def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
        self.pictures += len(images)
        plain = super().encode_many(images)
        return Encoded(~plain.codes, plain.features[:, ::-1].copy())


def pictures(*sizes: int) -> list[Upload]:
    return [Upload(encoded(gradient(size, 40)), f"key-{size}", {}) for size in sizes]


def move(service: Service, encoder: OtherEncoder) -> list[tuple[int, int]]:
    """Moves the catalogue to the other network; returns what the report heard."""
    heard: list[tuple[int, int]] = []
    with service.database.begin() as session:
        generation = generations.find_or_create(session, OTHER_NETWORK, OTHER_CHECKPOINT)
    with closing(open_vectors(service.settings.data_dir, generation)) as vectors:
        prepare = InProcess(encoder.size, encoder.prepare, limits_of(service.settings))
        encodings = Encodings(service.database, prepare, encoder, vectors, generation.id)
        run = Reencode(service.database, service.files, encodings)
        run.run(lambda done, total: heard.append((done, total)))
    return heard


def test_after_the_move_the_other_network_finds_every_picture(
    service: Service, settings: Settings, database: Database
) -> None:
    uploads = pictures(*range(40, 120))
    ids = [added.id for added in service.ingest.add(uploads)]
    heard = move(service, OtherEncoder())
    assert heard[-1] == (80, 80)
    with assemble(settings, database, OtherEncoder(), OTHER_NETWORK, OTHER_CHECKPOINT) as moved:
        for upload, picture_id in zip(uploads, ids, strict=True):
            first, _ = moved.searcher.by_picture(upload.data, SearchOptions(k=1)).matches[0]
            assert (first.id, first.distance, first.hamming) == (picture_id, 0.0, 0)


def test_a_service_with_the_old_network_says_that_it_must_be_restarted(service: Service) -> None:
    service.ingest.add(pictures(50))
    move(service, OtherEncoder())
    with pytest.raises(UnavailableError, match="Restart the service"):
        service.searcher.by_id(1, SearchOptions())


def test_starting_with_the_old_network_says_how_to_go_back(
    service: Service, settings: Settings, database: Database
) -> None:
    service.ingest.add(pictures(50))
    move(service, OtherEncoder())
    with (
        pytest.raises(ModelMismatchError, match="lookalike reencode"),
        assemble(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT),
    ):
        pass


def test_a_stopped_move_goes_on_where_it_was(service: Service) -> None:
    class Interrupted(OtherEncoder):
        def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
            if self.pictures:
                raise KeyboardInterrupt
            return super().encode_many(images)

    service.ingest.add(pictures(*range(40, 140)))
    with pytest.raises(KeyboardInterrupt):
        move(service, Interrupted())
    assert len(service.searcher.by_id(1, SearchOptions()).matches) == 10  # the old network still answers
    rest = OtherEncoder()
    move(service, rest)
    assert rest.pictures == 100 - 64


def test_pictures_added_and_replaced_meanwhile_are_moved_too(
    service: Service, settings: Settings, database: Database
) -> None:
    class Busy(OtherEncoder):
        def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
            if not self.pictures:
                service.ingest.add([*pictures(300), Upload(encoded(gradient(200, 40)), "key-50", {})])
                service.ingest.delete(2)
            return super().encode_many(images)

    service.ingest.add(pictures(50, 51, 52))
    move(service, Busy())
    with assemble(settings, database, OtherEncoder(), OTHER_NETWORK, OTHER_CHECKPOINT) as moved:
        assert len(moved.follower.current()) == 3
        replaced = moved.searcher.by_picture(encoded(gradient(200, 40)), SearchOptions(k=1)).matches[0]
        added = moved.searcher.by_picture(pictures(300)[0].data, SearchOptions(k=1)).matches[0]
        assert (replaced[1].key, replaced[0].distance) == ("key-50", 0.0)
        assert (added[1].key, added[0].distance) == ("key-300", 0.0)


def test_moving_back_encodes_only_what_is_new_since(service: Service, settings: Settings, database: Database) -> None:
    service.ingest.add(pictures(50, 51, 52))
    move(service, OtherEncoder())
    with assemble(settings, database, OtherEncoder(), OTHER_NETWORK, OTHER_CHECKPOINT) as moved:
        moved.ingest.add([*pictures(53), Upload(encoded(gradient(200, 40)), "key-50", {})])
    encoder = OtherEncoder()
    with database.begin() as session:
        generation = generations.find_or_create(session, FAKE_NETWORK, FAKE_CHECKPOINT)
    with closing(open_vectors(settings.data_dir, generation)) as vectors:
        prepare = InProcess(encoder.size, encoder.prepare, limits_of(settings))
        encodings = Encodings(database, prepare, encoder, vectors, generation.id)
        Reencode(database, service.files, encodings).run(lambda *_: None)
    assert encoder.pictures == 2


def test_a_damaged_original_is_named(service: Service) -> None:
    service.ingest.add(pictures(50))
    original = next(iter(service.files.hashes()))
    service.files.original(original).write_bytes(b"\xff\xd8\xff\xe0 no longer a picture")
    with pytest.raises(DamagedOriginalError, match=r"picture 1 \(key-50\)"):
        move(service, OtherEncoder())
