"""Both index implementations, local and Milvus, compared with brute force."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile, VectorType
from app.errors import LookalikeError
from app.search.index import Index
from app.search.local.index import LocalIndex
from app.search.milvus import index as milvus
from app.search.milvus.collection import CollectionPair
from app.search.milvus.connection import Connection
from app.search.milvus.index import MilvusIndex
from app.search.pool import nearest_by_code
from app.search.types import Encodings, Ids, IndexEntries, Match, Subset
from models.network.codes import hamming
from tests.search.coarse_order import CoarseOrder, short_shortlists

# Few bits, so that many distances tie.
COUNT, BITS, DIM = 500, 16, 24
NUMBERS = count(1)


@dataclass
class Catalogue:
    """In-memory catalogue: code, slot and checksum of each image, and the latest changes."""

    rows: dict[int, tuple[bytes, int, int]] = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    moment: int = 0

    def deleted(self) -> Ids:
        return np.array(self.gone, np.int64)

    def entries_of(self, ids: list[int]) -> IndexEntries:
        there = [image_id for image_id in sorted(ids) if image_id in self.rows]
        rows = [self.rows[image_id] for image_id in there]
        codes = np.frombuffer(b"".join(code for code, _, _ in rows), np.uint8).reshape(len(rows), BITS // 8)
        return IndexEntries(
            np.array(there, np.int64),
            codes,
            np.array([slot for _, slot, _ in rows], np.int64),
            np.array([checksum for _, _, checksum in rows], np.uint32),
        )

    def count_images(self, newest: int) -> tuple[int, int]:
        return len(self.rows), max([newest, *self.rows])


class LatestChanges:
    """Changes since the index was last updated."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue, self.milvus_timestamp = catalogue, catalogue.moment

    def deleted(self) -> Ids:
        return self._catalogue.deleted()

    def entries(self) -> IndexEntries:
        return self._catalogue.entries_of(self._catalogue.new)

    def count_images(self, count: int, newest: int) -> tuple[int, int]:  # noqa: ARG002 - the protocol has it for differences; this catalogue counts all of its rows
        return self._catalogue.count_images(newest)


class Lookup:
    """Maps slots to images for the Milvus index."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def image_ids(self, slots: NDArray[np.int64]) -> Ids:
        whose = {slot: image_id for image_id, (_, slot, _) in self._catalogue.rows.items()}
        return np.array([whose.get(int(slot), -1) for slot in slots], np.int64)

    def entries(self, ids: Ids) -> IndexEntries:
        return self._catalogue.entries_of(ids.tolist())


@dataclass
class World:
    """An index and its expected content."""

    index: Index
    catalogue: Catalogue
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    next_slot: int = 0

    def keep(self, encoded: Encodings) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Store encodings without committing them."""
        slots = np.arange(self.next_slot, self.next_slot + len(encoded.codes))
        self.next_slot += len(encoded.codes)
        kept = self.index.store(slots, encoded)
        self.catalogue.moment = kept.milvus_timestamp
        return slots, kept.checksums

    def put(self, ids: list[int], encoded: Encodings) -> None:
        """Add or replace images as the service does."""
        slots, checksums = self.keep(encoded)
        replaced = [self.catalogue.rows[image_id][1] for image_id in ids if image_id in self.catalogue.rows]
        for at, image_id in enumerate(ids):
            self.catalogue.rows[image_id] = encoded.codes[at].tobytes(), int(slots[at]), int(checksums[at])
            self.features[image_id] = encoded.features[at]
        self.follow(new=ids)
        self.index.free(np.array(replaced, np.int64))

    def delete(self, image_id: int) -> None:
        _, slot, _ = self.catalogue.rows.pop(image_id)
        self.follow(gone=[image_id])
        self.index.free(np.array([slot]))

    def follow(self, new: list[int] | None = None, gone: list[int] | None = None) -> None:
        self.catalogue.new, self.catalogue.gone = new or [], gone or []
        self.index.apply(LatestChanges(self.catalogue))

    def pool(
        self, code: NDArray[np.uint8], pool: int | None, radius: int | None, among: Subset | None
    ) -> list[tuple[int, int]]:
        """Expected pool: ids and Hamming distances."""
        rows = self.catalogue.rows.items()
        measured = [(int(hamming(code, np.frombuffer(row[0], np.uint8)[None])[0]), at) for at, row in rows]
        near = [
            (at, distance)
            for distance, at in sorted(measured)
            if (radius is None or distance <= radius) and (among is None or at in among.ids)
        ]
        return near[:pool]

    def nearest(self, feature: NDArray[np.float32], ids: list[int], k: int) -> list[tuple[int, float]]:
        """Expected ranking: ids and exact distances."""
        measured = [(float(np.linalg.norm(self.features[at].astype(np.float64) - feature)), at) for at in ids]
        return [(at, distance) for distance, at in sorted(measured)[:k]]


def drawn(seed: int, size: int) -> Encodings:
    rng = np.random.default_rng(seed)
    return Encodings(rng.integers(0, 256, (size, BITS // 8), np.uint8), rng.normal(size=(size, DIM)).astype(np.float32))


def opened(kind: str, vectors: VectorType, folder: Path, request: pytest.FixtureRequest) -> tuple[Index, Catalogue]:
    catalogue = Catalogue()
    if kind == "local":
        return LocalIndex(BITS, VectorFile(folder / "vectors", DIM, vectors)), catalogue
    name = f"lookalike_test_{next(NUMBERS)}"
    uri: str = request.getfixturevalue("milvus_uri")
    collection = CollectionPair(Connection(uri), (f"{name}_code", f"{name}_f7"), BITS, DIM, half=vectors == "f16")
    request.addfinalizer(lambda: drop(uri, name))
    try:
        collection.create()
    except LookalikeError as refused:
        if "float16" not in str(refused):
            raise
        collection.close()
        pytest.skip(str(refused))
    return MilvusIndex(collection, Lookup(catalogue)), catalogue


def drop(uri: str, name: str) -> None:
    with closing(CollectionPair(Connection(uri), (f"{name}_code", f"{name}_f7"), BITS, DIM)) as collection:
        collection.drop()


@pytest.fixture(params=["local", "milvus"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    index, catalogue = opened(request.param, "f32", tmp_path, request)
    with closing(index):
        yield World(index, catalogue)


@pytest.fixture
def world(empty: World) -> World:
    """A filled index that the test may change."""
    fill(empty)
    return empty


@pytest.fixture(scope="module", params=["local", "milvus"])
def read_only(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A filled index shared by read-only tests."""
    index, catalogue = opened(request.param, "f32", tmp_path_factory.mktemp("read_only"), request)
    with closing(index):
        world = World(index, catalogue)
        fill(world)
        yield world


def fill(world: World) -> None:
    """Add images with ids not in the order of slots, and replace some."""
    ids = (10 * np.random.default_rng(1).permutation(COUNT)).tolist()
    world.put(ids, drawn(2, COUNT))
    world.put(ids[:40], drawn(3, 40))


SUBSETS = {
    "all": None,
    "none": Subset(np.zeros(0, np.int64)),
    "few": Subset(np.arange(0, 10 * COUNT, 70)),
    "many": Subset(np.arange(0, 10 * COUNT, 20)),
    "unknown": Subset(np.array([5, 10, 15])),
}
LIMITS = [(10, None), (1, None), (120, None), (None, 3), (None, 0), (30, 5), (COUNT, None), (None, None)]


@pytest.mark.parametrize("among", SUBSETS)
@pytest.mark.parametrize(("pool", "radius"), LIMITS)
def test_pool_is_the_nearest_codes_with_ties_by_id(
    read_only: World, pool: int | None, radius: int | None, among: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "_MAX_LOCAL_SUBSET", 100)
    for code in drawn(4, 3).codes:
        found = read_only.index.candidates(code, pool, radius, SUBSETS[among])
        pairs = list(zip(found.ids.tolist(), found.hamming.tolist(), strict=True))
        assert pairs == read_only.pool(code, pool, radius, SUBSETS[among])


@pytest.mark.parametrize("among", SUBSETS)
@pytest.mark.parametrize(("pool", "radius"), LIMITS)
def test_asymmetric_order_equals_brute_force(
    read_only: World, pool: int | None, radius: int | None, among: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "_MAX_LOCAL_SUBSET", 100)
    rows = sorted((image_id, row[0]) for image_id, row in read_only.catalogue.rows.items())
    ids, codes = [image_id for image_id, _ in rows], np.array([list(code) for _, code in rows], np.uint8)
    for seed in range(3):
        # Whole numbers, so that sums are exact.
        projections = np.random.default_rng(seed).integers(-4, 5, BITS).astype(np.float64)
        code = np.packbits(projections > 0)
        order = CoarseOrder.of(code, codes, projections)
        near = [ids.index(image_id) for image_id, _ in read_only.pool(code, None, radius, SUBSETS[among])]
        with short_shortlists(20, 2, 60):
            found = nearest_by_code(read_only.index, code, pool, radius, SUBSETS[among], projections)
            assert found.ids.tolist() == [ids[at] for at in order.first(near, pool)]
        assert found.slots.tolist() == [read_only.catalogue.rows[image_id][1] for image_id in found.ids.tolist()]


@pytest.mark.parametrize("pool", [20, 450, None])
def test_pool_is_the_same_with_a_small_result_cap(
    read_only: World, pool: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "MAX_LIMIT", 40)
    (code,) = drawn(4, 1).codes
    found = read_only.index.candidates(code, pool, None, None)
    assert found.ids.tolist() == [image_id for image_id, _ in read_only.pool(code, pool, None, None)]
    query = drawn(6, 1).features[0]
    matches = read_only.index.rank(query, found, 15)
    assert [match.id for match in matches] == [at for at, _ in read_only.nearest(query, found.ids.tolist(), 15)]


@pytest.mark.parametrize("k", [1, 10, 700])
def test_rank_equals_brute_force(read_only: World, k: int) -> None:
    code, query = drawn(5, 1).codes[0], drawn(6, 1).features[0]
    pool = read_only.index.candidates(code, 200, None, None)
    check(read_only, read_only.index.rank(query, pool, k), read_only.nearest(query, pool.ids.tolist(), k), code)


@pytest.mark.parametrize("among", SUBSETS)
def test_rank_all_equals_brute_force(read_only: World, among: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "_MAX_LOCAL_SUBSET", 100)
    code, query = drawn(5, 1).codes[0], drawn(6, 1).features[0]
    ids = [at for at, _ in read_only.pool(code, None, None, SUBSETS[among])]
    ranked = read_only.index.rank_all(query, code, 12, SUBSETS[among])
    assert ranked.compared >= len(ids)
    check(read_only, ranked.matches, read_only.nearest(query, ids, 12), code)


def check(world: World, matches: list[Match], expected: list[tuple[int, float]], code: NDArray[np.uint8]) -> None:
    assert [match.id for match in matches] == [image_id for image_id, _ in expected]
    np.testing.assert_allclose([match.distance for match in matches], [far for _, far in expected], rtol=1e-5)
    bits = dict(world.pool(code, None, None, None))
    assert [match.hamming for match in matches] == [bits[match.id] for match in matches]


def test_image_is_at_distance_0_from_itself(read_only: World) -> None:
    for image_id in (0, 70, 4990):
        found = read_only.index.find(image_id)
        assert found is not None
        np.testing.assert_array_equal(read_only.index.as_stored(read_only.features[image_id][None])[0], found[1])
        (match,) = read_only.index.rank(found[1], read_only.index.candidates(found[0], 5, 0, None), 1)
        assert match == Match(image_id, 0.0, 0)


def test_equal_vectors_are_ranked_by_id(world: World) -> None:
    alike, before = drawn(7, 60), world.index.find(30)
    assert before is not None
    ids = [int(at) for at in np.random.default_rng(0).permutation(60) * 10 + 5]
    world.put(ids, Encodings(np.repeat(before[0][None], 60, 0), np.repeat(alike.features[:1], 60, 0)))
    for k in (1, 7, 60):
        pool = world.index.candidates(before[0], None, None, None)
        matches = world.index.rank(alike.features[0], pool, k)
        assert [match.id for match in matches] == sorted(ids)[:k]
        assert world.index.rank_all(alike.features[0], before[0], k, None).matches == matches


def test_uncommitted_encodings_are_not_found(world: World) -> None:
    """As after an addition that fails before its commit."""
    orphan = drawn(8, 30)
    slots, checksums = world.keep(orphan)
    assert world.index.verify(slots, checksums).all()
    before = set(world.catalogue.rows)
    for code, feature in zip(orphan.codes, orphan.features, strict=True):
        pool = world.index.candidates(code, 5, None, None)
        assert [(at, far) for at, far in zip(pool.ids, pool.hamming, strict=True)] == world.pool(code, 5, None, None)
        assert {match.id for match in world.index.rank_all(feature, code, 5, None).matches} <= before
    assert len(world.index) == COUNT


def test_deleted_images_are_not_found_until_added_again(world: World) -> None:
    gone = world.index.find(100)
    assert gone is not None
    world.delete(100)
    assert (len(world.index), world.index.find(100)) == (COUNT - 1, None)
    assert 100 not in world.index.candidates(gone[0], 10, None, None).ids
    assert 100 not in {match.id for match in world.index.rank_all(gone[1], gone[0], 10, None).matches}
    world.put([100], Encodings(gone[0][None], gone[1][None]))
    assert len(world.index) == COUNT
    assert world.index.rank_all(gone[1], gone[0], 1, None).matches == [Match(100, 0.0, 0)]


def test_candidates_replaced_after_the_coarse_step_are_still_ranked(world: World) -> None:
    found = world.index.find(100)
    assert found is not None
    pool = world.index.candidates(found[0], 20, None, None)
    world.put([100], drawn(9, 1))
    assert world.index.rank(found[1], pool, 1)[0].id == 100


def test_codes_of_missing_images_are_zeros(read_only: World) -> None:
    asked = [70, 5, 0, 70, 4990]
    codes = read_only.index.codes(np.array(asked))
    for image_id, code in zip(asked, codes, strict=True):
        row = read_only.catalogue.rows.get(image_id)
        assert code.tobytes() == (row[0] if row else bytes(BITS // 8))


def test_intact_compares_checksums(read_only: World) -> None:
    slots = np.array([0, 3, 10**6])
    entries = read_only.catalogue.entries_of(list(read_only.catalogue.rows))
    at = np.array([np.flatnonzero(entries.slots == 100)[0], np.flatnonzero(entries.slots == 200)[0]])
    assert read_only.index.verify(entries.slots[at], entries.checksums[at] + np.uint32(1)).tolist() == [False, False]
    assert read_only.index.verify(entries.slots[at], entries.checksums[at]).tolist() == [True, True]
    assert not read_only.index.verify(slots, np.zeros(3, np.uint32))[2]


def test_empty_index_returns_no_matches(empty: World) -> None:
    empty.follow()
    code, feature = drawn(0, 1).codes[0], drawn(0, 1).features[0]
    pool = empty.index.candidates(code, 10, None, None)
    assert len(pool) == len(empty.index) == 0
    assert empty.index.rank(feature, pool, 10) == []
    assert empty.index.rank_all(feature, code, 10, None).matches == []
    assert empty.index.find(1) is None
    empty.index.check_available()


@pytest.mark.parametrize("kind", ["local", "milvus"])
def test_float16_vectors_give_the_same_ranking(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    index, catalogue = opened(kind, "f16", tmp_path, request)
    with closing(index):
        world, encoded = World(index, catalogue), drawn(1, 50)
        world.put(list(range(1, 51)), encoded)
        rounded = index.as_stored(encoded.features)
        assert rounded.dtype == np.float32
        assert not np.array_equal(rounded, encoded.features)
        for at in (0, 17, 49):
            code, feature = encoded.codes[at], encoded.features[at]
            stored = index.find(at + 1)
            assert stored is not None
            np.testing.assert_array_equal(rounded[at], stored[1])
            matches = index.rank(feature, index.candidates(code, None, None, None), 50)
            assert matches[0] == Match(at + 1, 0.0, 0)
            exact = dict(world.nearest(feature, list(range(1, 51)), 50))
            np.testing.assert_allclose(
                [match.distance for match in matches], [exact[match.id] for match in matches], atol=3e-3
            )
