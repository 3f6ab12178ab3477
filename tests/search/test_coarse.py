"""Code table compared with brute force over a dict, through additions, replacements and removals."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.search.local.coarse import CodeTable
from app.search.types import Candidates, IndexEntries, Subset

Codes = NDArray[np.uint8]
Row = tuple[int, int, int, int]

BITS = (48, 64, 128)
LIMITS = (None, 0, 1, 7, 300, 1_000_000)


@dataclass
class Reference:
    """Expected content of the table: id → code, slot, checksum."""

    rows: dict[int, tuple[bytes, int, int]] = field(default_factory=dict)

    def add(self, entries: IndexEntries) -> None:
        columns = (entries.ids.tolist(), entries.codes, entries.slots.tolist(), entries.checksums.tolist())
        for image_id, code, slot, checksum in zip(*columns, strict=True):
            self.rows[image_id] = (code.tobytes(), slot, checksum)

    def remove(self, ids: NDArray[np.int64]) -> None:
        for image_id in ids.tolist():
            self.rows.pop(image_id, None)

    def nearest(
        self, code: Codes, pool: int | None, radius: int | None, among: NDArray[np.int64] | None = None
    ) -> list[Row]:
        wanted = self.rows if among is None else self.rows.keys() & set(among.tolist())
        number = int.from_bytes(code.tobytes())
        found = sorted(((number ^ int.from_bytes(self.rows[image_id][0])).bit_count(), image_id) for image_id in wanted)
        near = [(distance, image_id) for distance, image_id in found if radius is None or distance <= radius]
        return [(image_id, distance, *self.rows[image_id][1:]) for distance, image_id in near[:pool]]


class Versions:
    """Makes entries with unique slots, and checksums derived from the slots."""

    def __init__(self, bits: int, rng: np.random.Generator, distinct: int) -> None:
        self.rng, self.slots_used = rng, 0
        self.codes = rng.integers(0, 256, (distinct, bits // 8), np.uint8)

    def entries(self, ids: NDArray[np.int64]) -> IndexEntries:
        slots = np.arange(self.slots_used, self.slots_used + len(ids))
        self.slots_used += len(ids)
        codes = self.codes[self.rng.integers(0, len(self.codes), len(ids))]
        return IndexEntries(ids, codes, slots, checksum_of(slots))


def checksum_of(slots: NDArray[np.int64]) -> NDArray[np.uint32]:
    return (slots * 2_654_435_761 % 2**32).astype(np.uint32)


def rows(candidates: Candidates) -> list[Row]:
    columns = (candidates.ids, candidates.hamming, candidates.slots, candidates.checksums)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def subset(ids: NDArray[np.int64] | None) -> Subset | None:
    return None if ids is None else Subset(ids)


def some_ids(rng: np.random.Generator, most: int, below: int) -> NDArray[np.int64]:
    return np.sort(rng.choice(below, rng.integers(0, most + 1), replace=False)).astype(np.int64)


def near(code: Codes, rng: np.random.Generator) -> Codes:
    """The same code with a tenth of its bits flipped."""
    return np.packbits(np.unpackbits(code) ^ (rng.random(8 * len(code)) < 0.1))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("seed", "distinct"), [(0, 4), (1, 5000)])
def test_nearest_equals_brute_force_through_growth_and_compaction(bits: int, seed: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    versions, table, reference = Versions(bits, rng, distinct), CodeTable(bits), Reference()
    for step in range(24):
        if step % 3 == 2:
            gone = some_ids(rng, 1500, 4000)
            table.remove(gone)
            reference.remove(gone)
        else:
            entries = versions.entries(some_ids(rng, 800, 4000))
            table.add(entries)
            reference.add(entries)
        code = near(versions.codes[rng.integers(distinct)], rng)
        pool, radius = LIMITS[rng.integers(len(LIMITS))], (None, 0, 3, bits // 3)[rng.integers(4)]
        among = (None, some_ids(rng, 1000, 5000), some_ids(rng, 5000, 5000))[rng.integers(3)]
        assert rows(table.nearest(code, pool, radius, subset(among))) == reference.nearest(code, pool, radius, among)
        assert len(table) == len(reference.rows)


batches = st.lists(st.integers(0, 30), max_size=12, unique=True).map(lambda ids: np.array(sorted(ids), np.int64))
operations = st.lists(st.tuples(st.sampled_from(("add", "remove")), batches), max_size=8)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    bits=st.sampled_from((8, *BITS)),
    operations=operations,
    pool=st.none() | st.integers(0, 35),
    radius=st.none() | st.integers(0, 64),
    among=st.none() | batches,
)
def test_nearest_equals_brute_force_for_small_tables(
    bits: int,
    operations: list[tuple[str, NDArray[np.int64]]],
    pool: int | None,
    radius: int | None,
    among: NDArray[np.int64] | None,
) -> None:
    versions, table, reference = Versions(bits, np.random.default_rng(0), 3), CodeTable(bits), Reference()
    for operation, ids in operations:
        if operation == "remove":
            table.remove(ids)
            reference.remove(ids)
        else:
            entries = versions.entries(ids)
            table.add(entries)
            reference.add(entries)
    code = versions.codes[0]
    assert rows(table.nearest(code, pool, radius, subset(among))) == reference.nearest(code, pool, radius, among)
    assert {row[0] for row in rows(table.all_candidates(subset(among)))} == {
        row[0] for row in reference.nearest(code, None, None, among)
    }
    assert len(table) == len(reference.rows)


def test_ties_are_broken_by_id_in_large_tables() -> None:
    rng = np.random.default_rng(3)
    count = 70_000
    codes = np.zeros((count, 8), np.uint8)
    codes[:, 3] = rng.choice([0, 1, 3], count)
    table = CodeTable(64)
    table.add(IndexEntries(np.arange(count) * 2, codes, np.arange(count), np.zeros(count, np.uint32)))
    gone = np.arange(0, 12_000, 2)
    table.remove(gone)
    found = table.nearest(np.zeros(8, np.uint8), 30_000, None)
    hamming = np.bitwise_count(codes[6000:, 3]).astype(np.int64)
    expected = np.lexsort((np.arange(len(hamming)), hamming))[:30_000] + 6000
    np.testing.assert_array_equal(found.ids, 2 * expected)
    np.testing.assert_array_equal(found.hamming, hamming[expected - 6000])


def test_empty_table_returns_no_candidates() -> None:
    table, code = CodeTable(48), np.zeros(6, np.uint8)
    assert rows(table.nearest(code, 10, None)) == rows(table.all_candidates()) == []
    assert rows(table.nearest(code, None, 3, Subset(np.array([1, 2])))) == []
    assert table.find(1) is None
    assert len(table) == 0


def test_table_with_only_deleted_images_returns_no_candidates() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    ids = np.arange(900)
    table.add(versions.entries(ids))
    table.remove(ids)
    assert rows(table.nearest(versions.codes[0], 10, None)) == rows(table.all_candidates()) == []
    assert len(table) == 0
    table.add(versions.entries(ids[:3]))
    assert len(table.nearest(versions.codes[0], 10, None)) == len(table) == 3


def test_removing_deleted_or_unknown_ids_is_ignored() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    table.add(versions.entries(np.arange(10)))
    table.remove(np.array([3, 3, 77]))
    table.remove(np.array([3]))
    assert len(table) == 9
    assert table.all_candidates().ids.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_find_returns_the_code_as_added() -> None:
    versions, table = Versions(48, np.random.default_rng(0), 50), CodeTable(48)
    entries = versions.entries(np.arange(5, 40))
    table.add(entries)
    found = table.find(17)
    assert found is not None
    code, candidate = found
    np.testing.assert_array_equal(code, entries.codes[12])
    assert rows(candidate) == [(17, 0, int(entries.slots[12]), int(entries.checksums[12]))]
    table.remove(np.array([17]))
    assert table.find(17) is None


def test_hamming_returns_the_number_of_differing_bits() -> None:
    versions, table, reference = Versions(48, np.random.default_rng(0), 50), CodeTable(48), Reference()
    entries = versions.entries(np.arange(0, 60, 3))
    table.add(entries)
    reference.add(entries)
    code = versions.codes[0]
    expected = {image_id: distance for image_id, distance, *_ in reference.nearest(code, None, None)}
    ids = np.array([57, 0, 33])
    assert table.hamming(code, ids).tolist() == [expected[image_id] for image_id in ids.tolist()]


def test_hamming_of_images_deleted_since_the_search_is_minus_one() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    table.add(versions.entries(np.arange(4000)))
    found = table.all_candidates().ids
    table.remove(np.arange(2000, 4000))
    bits = table.hamming(versions.codes[0], found)
    assert bits[:2000].min() >= 0
    assert bits[2000:].tolist() == [-1] * 2000


def test_codes_of_another_length_raise() -> None:
    table = CodeTable(64)
    with pytest.raises(ValueError, match="codes have 6 bytes, expected 8"):
        table.nearest(np.zeros(6, np.uint8), 10, None)
    with pytest.raises(ValueError, match="codes have 6 bytes, expected 8"):
        table.add(IndexEntries(np.arange(1), np.zeros((1, 6), np.uint8), np.arange(1), np.zeros(1, np.uint32)))


def test_deletion_frees_memory() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    table.add(versions.entries(np.arange(20_000)))
    before = table.bytes_in_use
    table.remove(np.arange(1000, 20_000))
    assert table.bytes_in_use < before / 10


@pytest.fixture
def short_switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("short_switch_interval")
def test_searches_during_changes_return_consistent_rows() -> None:
    """Ids below 1000 are always present, but replaced; the others are added and removed."""
    versions, table = Versions(64, np.random.default_rng(0), 3), CodeTable(64)
    permanent, temporary = np.arange(0, 1000), np.arange(1000, 3000)
    table.add(versions.entries(permanent))
    changed, wrong, among = threading.Event(), list[str](), Subset(permanent)

    def check(found: Candidates, step: str) -> None:
        if not np.array_equal(found.checksums, checksum_of(found.slots)):
            wrong.append(f"{step}: a row mixes two versions")
        if not np.isin(permanent, found.ids).all() or len(np.unique(found.ids)) != len(found.ids):
            wrong.append(f"{step}: an image is missing or duplicated")

    def search(code: Codes) -> None:
        try:
            while not changed.is_set():
                check(table.nearest(code, 100_000, None), "pool")
                check(table.nearest(code, None, 64), "radius")
                check(table.nearest(code, None, None, among), "among")
                check(table.all_candidates(), "all")
                table.hamming(code, table.nearest(code, 2500, None).ids)
        except Exception as error:
            wrong.append(repr(error))

    searching = [threading.Thread(target=search, args=(code,)) for code in versions.codes[:2]]
    for thread in searching:
        thread.start()
    for _ in range(300):
        table.add(versions.entries(temporary))
        table.add(versions.entries(permanent))
        table.remove(temporary)
    changed.set()
    for thread in searching:
        thread.join()
    assert wrong == []


@pytest.fixture
def always_use_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use short lists, even if they do not help, and never fall back to a full scan."""
    monkeypatch.setattr("app.search.local.coarse.MAX_COPIED_SHARE", 2)
    monkeypatch.setattr("app.search.local.ivf_search.MAX_COPIED_SHARE", 2)
    monkeypatch.setattr("app.search.local.inverted_lists._ROWS_PER_LIST", 60)


def grouped(bits: int, rng: np.random.Generator, groups: int, size: int) -> Codes:
    """Codes around some centres, with a tenth of the bits flipped, like those of networks trained with labels."""
    centres = rng.integers(0, 256, (groups, bits // 8), np.uint8)
    return near(np.repeat(centres, size, axis=0).reshape(-1), rng).reshape(groups * size, -1)


@pytest.mark.usefixtures("always_use_lists")
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("groups", [3, 40])
@pytest.mark.parametrize("fallback", [False, True])
def test_nearest_with_lists_equals_brute_force_through_changes(
    bits: int, groups: int, fallback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fallback:
        monkeypatch.setattr("app.search.local.ivf_search._FIRST_PROBE_FACTOR", 1)
    rng = np.random.default_rng(groups)
    versions, table, reference = Versions(bits, rng, 1), CodeTable(bits), Reference()
    versions.codes = grouped(bits, rng, groups, 4000 // groups)
    for step in range(30):
        if step % 3 == 2:
            gone = some_ids(rng, 700, 6000)
            table.remove(gone)
            reference.remove(gone)
        else:
            entries = versions.entries(some_ids(rng, 2000, 6000) if step < 20 else np.arange(6000, 6000 + step))
            table.add(entries)
            reference.add(entries)
        if step % 4 == 0:
            table.build_lists()
        if fallback:
            monkeypatch.setattr("app.search.local.ivf_search.MAX_COPIED_SHARE", (2, 0.1)[step % 4 > 0])
        for _ in range(4):
            code = near(versions.codes[rng.integers(len(versions.codes))], rng)
            pool, radius = LIMITS[rng.integers(len(LIMITS))], (None, 0, 3, bits // 3)[rng.integers(4)]
            among = (None, *(some_ids(rng, size, 7000) for size in (200, 1000, 7000)))[rng.integers(4)]
            found = rows(table.nearest(code, pool, radius, subset(among)))
            assert found == reference.nearest(code, pool, radius, among)
        some = some_ids(rng, 50, 7000)
        assert [table.find(int(one)) is not None for one in some] == [int(one) in reference.rows for one in some]
        assert len(table) == len(reference.rows)


def test_lists_are_built_for_clustered_codes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.local.coarse._MIN_COUNT_FOR_LISTS", 20_000)
    monkeypatch.setattr("app.search.local.inverted_lists._ROWS_PER_LIST", 250)
    rng = np.random.default_rng(0)
    for codes, ordered in ((grouped(128, rng, 10, 2500), True), (rng.integers(0, 256, (25_000, 16), np.uint8), False)):
        table, count = CodeTable(128), len(codes)
        ids = np.arange(count)
        table.add(
            IndexEntries(ids[: count // 2], codes[: count // 2], ids[: count // 2], checksum_of(ids[: count // 2]))
        )
        assert not table.needs_lists, "a small table is scanned flat"
        half = slice(count // 2, count)
        table.add(IndexEntries(ids[half], codes[half], ids[half], checksum_of(ids[half])))
        assert table.needs_lists
        table.build_lists()
        assert not table.needs_lists, "building is not repeated at once"
        assert (table._snapshot.lists.end > 0) is ordered


@pytest.mark.usefixtures("always_use_lists", "short_switch_interval")
def test_changes_while_lists_are_built_are_kept() -> None:
    rng = np.random.default_rng(5)
    versions, table, reference = Versions(64, rng, 1), CodeTable(64), Reference()
    versions.codes = grouped(64, rng, 20, 200)
    first = versions.entries(np.arange(4000))
    table.add(first)
    reference.add(first)
    done = threading.Event()

    def build() -> None:
        while not done.is_set():
            table.build_lists()

    building = threading.Thread(target=build)
    building.start()
    for step in range(150):
        gone, entries = some_ids(rng, 40, 4000 + step), versions.entries(some_ids(rng, 40, 4000 + step))
        table.remove(gone)
        reference.remove(gone)
        table.add(entries)
        reference.add(entries)
        code = versions.codes[rng.integers(len(versions.codes))]
        assert rows(table.nearest(code, 300, None)) == reference.nearest(code, 300, None)
    done.set()
    building.join()
    assert rows(table.nearest(versions.codes[0], None, None)) == reference.nearest(versions.codes[0], None, None)
