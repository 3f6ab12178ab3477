"""Search pipeline compared with brute force in every mode, with a fake and with a real network."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from app.catalogue.vectors.file import VectorFile, VectorType
from app.demo import demo_images
from app.errors import ImageRejectedError, InvalidInputError, NotFoundError
from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from app.search.encode.batching import BatchingEncoder, Encoder, NetworkInput
from app.search.encode.runtimes import TorchRuntime
from app.search.index import Index
from app.search.local.index import LocalIndex
from app.search.pipeline import Searcher, SearchResult
from app.search.types import Encodings, Ids, IndexEntries, Mode, SearchOptions, Subset
from models.checkpoint.similarity import LogisticCurve, Similarity
from models.network.backbones import BACKBONES
from models.network.codes import hamming
from models.network.latent_hash_net import LatentHashNet
from models.network.latent_layer import LatentLayer, fit_latent_layer
from models.network.preprocess import Preprocess
from tests.fakes import BITS, FAKE_NETWORK, FEATURE_DIM, FakeEncoder
from tests.images import encoded
from tests.search.coarse_order import CoarseOrder, short_shortlists

IMAGES = list(islice(demo_images(), 60))
FIRST_ID = 1000
REAL_PREPROCESS = replace(BACKBONES["efficientnet_lite0"].preprocess, size=128)
DEFAULT_POOL = 40


class Key(str):
    """Catalogue row of an image; its last letter is the maker, a field to group by."""

    __slots__ = ()

    def group(self, field: str) -> str | None:
        return self[-1] if field == "maker" else None


@dataclass
class MemoryCatalogue:
    """In-memory catalogue: image i has id `FIRST_ID` + i; its row is its key."""

    index: LocalIndex
    labels: list[str]
    keys: dict[int, Key]
    asked: list[Sequence[int]] = field(default_factory=list)

    def synced_index(self) -> Index:
        return self.index

    def filtered(self, options: SearchOptions) -> Subset | None:
        if options.label is None:
            return None
        ids = [FIRST_ID + at for at, label in enumerate(self.labels) if label == options.label]
        return Subset(np.array(ids, np.int64))

    def first_of_group(self, ids: Ids, field: str) -> NDArray[np.int64]:
        groups = [self.keys[image_id].group(field) or image_id for image_id in ids.tolist()]
        return np.array([groups.index(group) for group in groups], np.int64)

    def ids_by_key(self, keys: Sequence[str]) -> Mapping[str, int]:
        return {key: image_id for image_id, key in self.keys.items() if key in keys}

    def summaries(self, ids: Sequence[int]) -> Mapping[int, Key]:
        self.asked.append(ids)
        return {image_id: self.keys[image_id] for image_id in reversed(ids) if image_id in self.keys}


@dataclass(frozen=True)
class World:
    """A searcher, and the data to check it by brute force."""

    searcher: Searcher[Key]
    catalogue: MemoryCatalogue
    encoder: Encoder
    encoded: Encodings
    latent: LatentLayer | None = None

    def expected(self, code: NDArray[np.uint8], feature: NDArray[np.float32], options: SearchOptions) -> list[int]:
        """Expected ids by the paper's definition of each mode, with distances in float64."""
        ordered = self.latent is not None and options.asymmetric
        order = CoarseOrder.of(code, self.encoded.codes, self.projections(feature) if ordered else None)
        exact = np.linalg.norm(self.encoded.features.astype(np.float64) - feature, axis=1)
        pool = [at for at, label in enumerate(self.catalogue.labels) if options.label in (None, label)]
        if options.mode is not Mode.ES:
            near = [at for at in pool if options.radius is None or order.hamming[at] <= options.radius]
            pool = order.first(near, options.k if options.mode is Mode.BCS else options.pool_limit(DEFAULT_POOL))
        if options.mode is not Mode.BCS:
            pool = sorted(pool, key=lambda at: (exact[at], at))
        return [FIRST_ID + at for at in pool[: options.k]]

    def projections(self, feature: NDArray[np.float32]) -> NDArray[np.float64]:
        """The latent layer's W F7 + b, in float64."""
        assert self.latent is not None
        return self.latent.weights.astype(np.float64) @ feature + self.latent.biases

    def check(self, answer: SearchResult[Key], query: Encodings) -> None:
        """Compare an answer with brute force, in any order within equal distances."""
        code, feature, options = query.codes[0], query.features[0], answer.options
        np.testing.assert_array_equal(answer.code, code)
        found = [match.id for match, _ in answer.matches]
        expected = self.expected(code, feature, options)
        at, at_expected = np.array(found, np.int64) - FIRST_ID, np.array(expected, np.int64) - FIRST_ID
        assert len(found) == len(expected) == len(set(found))
        assert [match.hamming for match, _ in answer.matches] == hamming(code, self.encoded.codes[at]).tolist()
        if options.mode is Mode.BCS:
            assert found == expected
            assert all(match.distance == match.hamming for match, _ in answer.matches)
            return
        exact = np.linalg.norm(self.encoded.features.astype(np.float64) - feature, axis=1)
        np.testing.assert_allclose(exact[at], exact[at_expected], rtol=1e-5, atol=1e-5)
        distances = [match.distance for match, _ in answer.matches]
        assert distances == sorted(distances)
        np.testing.assert_allclose(distances, exact[at], rtol=1e-4, atol=1e-4)


@contextmanager
def world(
    encoder: Encoder,
    preprocess: Preprocess,
    bits: int,
    dim: int,
    folder: Path,
    vector_type: VectorType = "f32",
    planes: NDArray[np.float32] | None = None,
) -> Iterator[World]:
    """A searcher of the demo images; with `planes` `(bits, dim)`, codes are computed from stored F7."""
    encoded, latent = encoder.encode_many([Image.fromarray(preprocess(drawing.image)) for drawing in IMAGES]), None
    with closing(VectorFile(folder / "vectors.f32", dim, vector_type)) as vectors:
        if planes is not None:
            stored = vectors.as_stored(encoded.features).astype(np.float32)
            latent = fit_latent_layer(planes, -planes @ stored.mean(axis=0), stored)
            encoded = Encodings(latent.codes(stored), stored)
        index, slots = LocalIndex(bits, vectors), np.arange(len(IMAGES))[::-1].copy()
        index.add(
            IndexEntries(
                FIRST_ID + np.arange(len(IMAGES)), encoded.codes, slots, vectors.write(slots, encoded.features)
            )
        )
        keys = {FIRST_ID + at: Key(drawing.key) for at, drawing in enumerate(IMAGES)}
        catalogue = MemoryCatalogue(index, [drawing.label for drawing in IMAGES], keys)
        prepare = InProcessPreparer(preprocess, DecodeLimits())
        searcher = Searcher(prepare, encoder, catalogue, DEFAULT_POOL, latent=latent)
        yield World(searcher, catalogue, encoder, encoded, latent)


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(FakeEncoder(), FAKE_NETWORK.preprocess, BITS, FEATURE_DIM, tmp_path_factory.mktemp("fake")) as made:
        yield made


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """EfficientNet with ImageNet weights and a random latent layer, on the demo images."""
    # One thread: on busy cores, threads that synchronise at every layer take many times as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = BACKBONES["efficientnet_lite0"]
    network = LatentHashNet(backbone.name, 48, 0, REAL_PREPROCESS, "unit")
    network.load_imagenet()
    encoder = BatchingEncoder(TorchRuntime(network, "cpu"))
    folder = tmp_path_factory.mktemp("real")
    with closing(encoder), world(encoder, REAL_PREPROCESS, 48, backbone.feature_dim, folder) as made:
        yield made
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["f32", "f16"])
def adapted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Codes computed from stored F7 by a latent layer, and shortlists shorter than the catalogue."""
    planes = np.random.default_rng(3).normal(size=(BITS, FEATURE_DIM)).astype(np.float32)
    folder, preprocess = tmp_path_factory.mktemp("adapted"), FAKE_NETWORK.preprocess
    with (
        world(FakeEncoder(), preprocess, BITS, FEATURE_DIM, folder, request.param, planes) as made,
        short_shortlists(15, 2, 30),
    ):
        yield made


def png(at: int) -> bytes:
    buffer = BytesIO()
    IMAGES[at].image.save(buffer, "PNG")
    return buffer.getvalue()


OPTIONS = [
    SearchOptions(k=k, mode=mode, pool=pool, radius=radius, label=label)
    for k, pool, radius, label in [
        (10, None, None, None),
        (100, None, None, None),
        (5, 12, None, None),
        (1, 1, None, None),
        (20, None, 6, None),
        (20, 8, 12, None),
        (10, None, 0, None),
        (10, None, None, "boot"),
        (3, 4, 30, "mug"),
        (10, 5, None, "no such label"),
    ]
    for mode in Mode
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_mode_equals_brute_force(fake: World, options: SearchOptions) -> None:
    for at in (0, 17, 59):
        query = fake.encoder.encode_many([IMAGES[at].image])
        fake.check(fake.searcher.by_image(png(at), options), query)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_mode_equals_brute_force_with_a_real_network(real: World, options: SearchOptions) -> None:
    for at in (11, 30):
        stored = Encodings(real.encoded.codes[at : at + 1], real.encoded.features[at : at + 1])
        real.check(real.searcher.by_id(FIRST_ID + at, options), stored)


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_mode_equals_brute_force_with_a_latent_layer(
    adapted: World, options: SearchOptions, asymmetric: bool
) -> None:
    options = replace(options, asymmetric=asymmetric)
    for at in (0, 17, 59):
        by_id, by_image = adapted.searcher.by_id(FIRST_ID + at, options), adapted.searcher.by_image(png(at), options)
        assert by_id.matches == by_image.matches
        np.testing.assert_array_equal(by_id.code, by_image.code)
        adapted.check(by_image, Encodings(adapted.encoded.codes[at : at + 1], adapted.encoded.features[at : at + 1]))
        assert by_image.asymmetric == (asymmetric and options.mode is not Mode.ES)


def test_asymmetric_order_differs_from_hamming_order(adapted: World, fake: World) -> None:
    """Without this, the test above might only compare equal orders."""
    options = SearchOptions(mode=Mode.BCS, explain=True)
    answer = adapted.searcher.by_id(FIRST_ID, options)
    hamming_order = adapted.searcher.by_id(FIRST_ID, replace(options, asymmetric=False)).matches
    assert answer.matches != hamming_order
    distances = [match.distance for match, _ in answer.matches]
    assert distances != sorted(distances)
    assert [explanation.coarse_rank for explanation in answer.explanations] == list(range(1, 11))
    assert not fake.searcher.by_id(FIRST_ID, options).asymmetric, "there is no latent layer"


def test_encoders_code_is_ignored_if_there_is_a_latent_layer(adapted: World) -> None:
    (encoded,) = adapted.encoder.encode_many([IMAGES[5].image]).codes
    answer = adapted.searcher.by_image(png(5), SearchOptions(mode=Mode.BCS, k=1))
    assert not np.array_equal(answer.code, encoded)
    assert [(match.id, match.hamming) for match, _ in answer.matches] == [(FIRST_ID + 5, 0)]


@pytest.mark.parametrize("mode", Mode)
def test_search_by_upload_equals_brute_force_with_a_real_network(real: World, mode: Mode) -> None:
    query = real.encoder.encode_many([Image.fromarray(REAL_PREPROCESS(IMAGES[23].image))])
    answer = real.searcher.by_image(png(23), SearchOptions(mode=mode))
    real.check(answer, query)


def test_real_network_encodes_the_images_differently(real: World) -> None:
    """Without this, the tests above might only compare ties."""
    assert len(np.unique(real.encoded.codes, axis=0)) > len(IMAGES) / 3
    assert len(np.unique(real.encoded.features, axis=0)) == len(IMAGES)


@pytest.mark.parametrize("mode", Mode)
def test_image_of_the_catalogue_is_its_own_first_match(fake: World, mode: Mode) -> None:
    answer = fake.searcher.by_image(png(17), SearchOptions(mode=mode))
    same = [at for at in range(len(IMAGES)) if (fake.encoded.features[at] == fake.encoded.features[17]).all()]
    first, key = answer.matches[0]
    assert (first.distance, first.hamming) == (0, 0)
    assert mode is Mode.BCS or first.id - FIRST_ID in same
    assert key == IMAGES[first.id - FIRST_ID].key


def test_search_by_id_equals_search_by_image(fake: World) -> None:
    options = SearchOptions(k=7, pool=20)
    by_id, by_picture = fake.searcher.by_id(FIRST_ID + 17, options), fake.searcher.by_image(png(17), options)
    assert by_id.matches == by_picture.matches
    np.testing.assert_array_equal(by_id.code, by_picture.code)


def test_answer_contains_pool_and_catalogue_size(fake: World) -> None:
    def sizes(options: SearchOptions) -> tuple[int, int]:
        answer = fake.searcher.by_image(png(0), options)
        return answer.pool_size, answer.catalogue_size

    boots = sum(drawing.label == "boot" for drawing in IMAGES)
    assert sizes(SearchOptions(k=3)) == (DEFAULT_POOL, 60)
    assert sizes(SearchOptions(k=3, pool=20)) == (20, 60)
    assert sizes(SearchOptions(k=3, mode=Mode.BCS)) == (3, 60)
    assert sizes(SearchOptions(k=3, mode=Mode.ES, pool=20)) == (60, 60)
    assert sizes(SearchOptions(k=3, label="boot")) == (boots, 60)
    assert sizes(SearchOptions(k=50)) == (50, 60)


def test_pool_limit_defaults_to_the_networks_pool_unless_a_radius_is_given() -> None:
    assert SearchOptions().pool_limit(50) == 50
    assert SearchOptions(k=80).pool_limit(50) == 80
    assert SearchOptions(pool=5).pool_limit(50) == SearchOptions(pool=5, radius=3).pool_limit(50) == 5
    assert SearchOptions(radius=3).pool_limit(50) is None


def test_deleted_images_are_left_out_of_the_matches(fake: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fake.searcher.by_image(png(0), SearchOptions(k=5)).matches
    monkeypatch.delitem(fake.catalogue.keys, before[1][0].id)
    after = fake.searcher.by_image(png(0), SearchOptions(k=5)).matches
    assert after == [before[0], *before[2:]]


def test_rows_are_fetched_for_the_matches_only(fake: World) -> None:
    answer = fake.searcher.by_image(png(0), SearchOptions(k=5))
    assert fake.catalogue.asked[-1] == [match.id for match, _ in answer.matches]
    assert len(answer.matches) == 5


def test_steps_are_timed(fake: World) -> None:
    timings = fake.searcher.by_image(png(0), SearchOptions()).timings
    assert set(timings) == {"decode", "encode", "catalogue", "coarse", "fine", "total"}
    assert 0 <= sum(timings.values()) - timings["total"] <= timings["total"]
    assert set(fake.searcher.by_id(FIRST_ID, SearchOptions()).timings) == {"catalogue", "coarse", "fine", "total"}


def test_invalid_image_is_refused(fake: World) -> None:
    with pytest.raises(ImageRejectedError):
        fake.searcher.by_image(b"not an image", SearchOptions())


def test_unknown_id_raises_not_found(fake: World) -> None:
    with pytest.raises(NotFoundError, match="no image 7"):
        fake.searcher.by_id(7, SearchOptions())


@pytest.mark.parametrize("mode", Mode)
def test_empty_catalogue_returns_no_matches(tmp_path: Path, mode: Mode) -> None:
    with closing(VectorFile(tmp_path / "vectors.f32", FEATURE_DIM)) as vectors:
        catalogue = MemoryCatalogue(LocalIndex(BITS, vectors), [], {})
        searcher = Searcher(
            InProcessPreparer(FAKE_NETWORK.preprocess, DecodeLimits()), FakeEncoder(), catalogue, DEFAULT_POOL
        )
        answer = searcher.by_image(png(0), SearchOptions(mode=mode))
    assert (answer.matches, answer.pool_size, answer.catalogue_size) == ([], 0, 0)


SIMILARITY = Similarity("two views", LogisticCurve(1.0, 4.0), LogisticCurve(8.0, 3.0), 0.1, 0.1)


@pytest.fixture
def calibrated(fake: World) -> Searcher[Key]:
    prepare = InProcessPreparer(FAKE_NETWORK.preprocess, DecodeLimits())
    return Searcher(prepare, fake.encoder, fake.catalogue, DEFAULT_POOL, SIMILARITY)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("group", [None, "maker"])
def test_min_similarity_cuts_off_the_matches(
    fake: World, calibrated: Searcher[Key], mode: Mode, group: str | None
) -> None:
    curve = SIMILARITY.codes if mode is Mode.BCS else SIMILARITY.features
    asked = SearchOptions(k=40, mode=mode, group_by=group)
    everything = calibrated.by_id(FIRST_ID + 7, asked).matches
    assert [match.similarity for match, _ in everything] == [curve(match.distance) for match, _ in everything]
    least = sorted(match.similarity or 0 for match, _ in everything)[len(everything) // 2]
    cut = calibrated.by_id(FIRST_ID + 7, replace(asked, min_similarity=least)).matches
    assert cut == [(match, key) for match, key in everything if (match.similarity or 0) >= least]
    assert 0 < len(cut) < len(everything)
    plain = fake.searcher.by_id(FIRST_ID + 7, asked).matches
    assert [(match.id, match.similarity) for match, _ in plain] == [(match.id, None) for match, _ in everything]


def test_asymmetric_bcs_returns_the_first_of_those_that_are_similar_enough(adapted: World) -> None:
    prepare = InProcessPreparer(FAKE_NETWORK.preprocess, DecodeLimits())
    searcher = Searcher(prepare, adapted.encoder, adapted.catalogue, DEFAULT_POOL, SIMILARITY, latent=adapted.latent)
    options = SearchOptions(k=4, mode=Mode.BCS)
    replaced = 0
    for image_id in range(FIRST_ID, FIRST_ID + len(IMAGES)):
        first = searcher.by_id(image_id, options).matches
        farthest = max(match.hamming for match, _ in first)
        least = SIMILARITY.codes(farthest - 1)
        found = searcher.by_id(image_id, replace(options, min_similarity=least)).matches
        assert found == searcher.by_id(image_id, replace(options, radius=farthest - 1)).matches
        assert all((match.similarity or 0) >= least for match, _ in found)
        replaced += found != first and len(found) == options.k
    assert replaced > 0, "others take the place of matches that are not similar enough"


def test_min_similarity_without_calibration_is_refused_before_decoding(fake: World) -> None:
    with pytest.raises(InvalidInputError, match="not calibrated"):
        fake.searcher.by_image(b"not an image", SearchOptions(min_similarity=0.5))


def test_encoder_is_told_whether_a_search_is_alone(fake: World) -> None:
    told, meeting = list[bool](), threading.Barrier(2)

    class NotingEncoder(FakeEncoder):
        def encode_one(self, image: NetworkInput, *, alone: bool = True) -> Future[Encodings]:
            told.append(alone)
            meeting.wait(10)
            return super().encode_one(image)

    prepare = InProcessPreparer(FAKE_NETWORK.preprocess, DecodeLimits())
    searcher = Searcher(prepare, NotingEncoder(), fake.catalogue, DEFAULT_POOL)
    data = encoded(IMAGES[0].image, "PNG")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(searcher.by_image, data, SearchOptions())
        while not told:
            time.sleep(0.01)
        second = threads.submit(searcher.by_image, data, SearchOptions())
        assert first.result(10).matches == second.result(10).matches
        assert told == [True, False]
        third = threads.submit(searcher.by_image, data, SearchOptions())
        meeting.wait(10)
        assert third.result(10).matches
    assert told == [True, False, True]
