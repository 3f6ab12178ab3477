"""Local index over a real vector file: ranking compared with brute force, and vectors damaged on disk."""

import logging
import mmap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile, without_hole_punching
from app.search.local.index import LocalIndex
from app.search.types import Candidates, IndexEntries, Subset
from models.network.codes import hamming

COUNT, BITS, DIM = 400, 48, 32


@dataclass(frozen=True)
class Filled:
    """An index and its content; image i has id 10·i and a random slot."""

    index: LocalIndex
    entries: IndexEntries
    features: NDArray[np.float32]
    path: Path

    @property
    def everything(self) -> Candidates:
        return self.index.candidates(self.entries.codes[0], None, None, None)

    def damage(self, at: int) -> None:
        """Flip one bit of an image's vector on disk."""
        with self.path.open("r+b") as file:
            file.seek(4 * DIM * int(self.entries.slots[at]) + 17)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))

    def expected(self, feature: NDArray[np.float32], left_out: tuple[int, ...] = ()) -> list[int]:
        """Ids sorted by exact distance."""
        distances = np.linalg.norm(self.features.astype(np.float64) - feature, axis=1)
        order = np.lexsort((self.entries.ids, distances))
        return [int(self.entries.ids[at]) for at in order if at not in left_out]


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(COUNT, DIM)).astype(np.float32)
    slots = rng.permutation(COUNT)
    with closing(VectorFile(tmp_path / "vectors.f32", DIM)) as vectors:
        checksums = vectors.write(slots, features)
        codes = rng.integers(0, 256, (COUNT, BITS // 8), np.uint8)
        entries = IndexEntries(10 * np.arange(COUNT), codes, slots, checksums)
        index = LocalIndex(BITS, vectors)
        index.add(entries)
        yield Filled(index, entries, features, vectors.path)


def test_rank_equals_brute_force(filled: Filled) -> None:
    query, code = filled.features[7] + np.float32(0.1), filled.entries.codes[7]
    matches = filled.index.rank(query, filled.index.candidates(code, None, None, None), 50)
    assert [match.id for match in matches] == filled.expected(query)[:50]
    at = np.array([match.id // 10 for match in matches])
    exact = np.linalg.norm(filled.features[at].astype(np.float64) - query, axis=1)
    np.testing.assert_allclose([match.distance for match in matches], exact, rtol=1e-5)
    assert [match.hamming for match in matches] == hamming(code, filled.entries.codes[at]).tolist()


def test_ranking_everything_equals_ranking_all_candidates(filled: Filled) -> None:
    query, code = filled.features[7], filled.entries.codes[9]
    everything = filled.index.rank_all(query, code, 20, None)
    assert everything.matches == filled.index.rank(query, filled.index.candidates(code, None, None, None), 20)
    assert everything.compared == COUNT


def test_equal_vectors_are_ranked_by_id(filled: Filled) -> None:
    same = np.repeat(filled.features[:1], 5, axis=0)
    slots, ids = np.arange(COUNT, COUNT + 5), np.array([1, 2, 3, 9001, 9002])
    with closing(VectorFile(filled.path, DIM)) as vectors:
        checksums = vectors.write(slots, same)
    filled.index.add(IndexEntries(ids, np.zeros((5, BITS // 8), np.uint8), slots, checksums))
    matches = filled.index.rank(filled.features[0], filled.everything, 6)
    assert [match.id for match in matches] == [0, 1, 2, 3, 9001, 9002]


def test_ranking_no_candidates_returns_no_matches(filled: Filled) -> None:
    none = filled.index.candidates(filled.entries.codes[0], None, None, Subset(np.array([5])))
    assert filled.index.rank(filled.features[0], none, 10) == []


def test_damaged_vectors_are_left_out_and_logged(filled: Filled, caplog: pytest.LogCaptureFixture) -> None:
    filled.damage(3)
    filled.damage(5)
    with caplog.at_level(logging.ERROR, "app.search.local.index"):
        matches = filled.index.rank(filled.features[3], filled.everything, COUNT)
    assert [match.id for match in matches] == filled.expected(filled.features[3], left_out=(3, 5))
    assert "damaged on disk" in caplog.text
    assert sorted(caplog.text.split("[")[-1].split("]")[0].split(", ")) == ["30", "50"]


def test_damaged_vector_is_left_out_every_time(filled: Filled) -> None:
    filled.damage(3)
    for _ in range(2):
        matches = filled.index.rank(filled.features[3], filled.everything, COUNT)
        assert 30 not in {match.id for match in matches}


def test_intact_vectors_are_not_logged(filled: Filled, caplog: pytest.LogCaptureFixture) -> None:
    filled.index.rank(filled.features[3], filled.everything, 10)
    assert caplog.records == []


def test_find_returns_code_and_vector(filled: Filled) -> None:
    found = filled.index.find(120)
    assert found is not None
    np.testing.assert_array_equal(found[0], filled.entries.codes[12])
    np.testing.assert_array_equal(found[1], filled.features[12])


def test_find_returns_none_for_damaged_and_missing_images(filled: Filled) -> None:
    filled.damage(12)
    assert filled.index.find(120) is None
    assert filled.index.find(121) is None


def test_slot_beyond_the_file_counts_as_damaged(filled: Filled) -> None:
    one = np.array([7])
    filled.index.add(IndexEntries(one, filled.entries.codes[:1], np.array([10**9]), np.zeros(1, np.uint32)))
    matches = filled.index.rank(filled.features[0], filled.everything, COUNT + 1)
    assert len(matches) == COUNT
    assert filled.index.find(7) is None


def test_removed_images_are_not_found(filled: Filled) -> None:
    assert len(filled.index) == COUNT
    filled.index.remove(np.array([0, 10, 11]))
    assert len(filled.index) == COUNT - 2
    matches = filled.index.rank(filled.features[0], filled.everything, COUNT)
    assert [match.id for match in matches] == filled.expected(filled.features[0], left_out=(0, 1))
    assert filled.index.code_bytes > COUNT * (BITS // 8)


@pytest.mark.usefixtures("free_at_once")
def test_discarded_vectors_free_disk_space_once_no_reader_locks_the_file(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.search.local.index._MIN_FREED", COUNT // 2)
    index = LocalIndex(BITS, filled.index.vectors)
    index.add(filled.entries)
    # The first slots are adjacent, so their pages can be freed.
    first = np.argsort(filled.entries.slots)[: COUNT // 2]
    index.remove(filled.entries.ids[first])
    before = index.vector_bytes
    index.free(filled.entries.slots[first[:-1]])
    assert index.vector_bytes == before, "fewer than the minimum"
    with without_hole_punching(filled.path.parent):
        index.free(filled.entries.slots[first[-1:]])
        assert index.vector_bytes == before, "a reader locks the file"
    index.free(np.zeros(0, np.int64))
    assert index.vector_bytes <= before - COUNT // 2 * DIM * 4 + mmap.PAGESIZE
    left = tuple(first.tolist())
    matches = index.rank(filled.features[0], index.all_candidates(None), COUNT)
    assert [match.id for match in matches] == filled.expected(filled.features[0], left_out=left)


def test_vectors_that_a_search_may_still_read_are_not_freed(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.local.index._MIN_FREED", 1)
    index = LocalIndex(BITS, filled.index.vectors)
    before = index.vector_bytes
    index.free(filled.entries.slots)
    assert index.vector_bytes == before


def test_close_frees_the_remaining_discarded_vectors(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.local.index._FREE_DELAY_S", 0.0)
    vectors = VectorFile(filled.path, DIM)
    index, before = LocalIndex(BITS, vectors), vectors.bytes_on_disk
    index.free(filled.entries.slots)
    assert vectors.bytes_on_disk == before, "fewer than the minimum"
    index.close()
    assert filled.index.vector_bytes < before
