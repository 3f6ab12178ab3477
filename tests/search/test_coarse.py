"""The table of codes against brute force over a plain dict, through additions, replacements and removals."""

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
from app.search.types import Candidates, Entries, Subset

Codes = NDArray[np.uint8]
Row = tuple[int, int, int, int]

BITS = (48, 64, 128)
LIMITS = (None, 0, 1, 7, 300, 1_000_000)


@dataclass
class Reference:
    """What the table should hold: id → code, slot, checksum."""

    rows: dict[int, tuple[bytes, int, int]] = field(default_factory=dict)

    def add(self, entries: Entries) -> None:
        columns = (entries.ids.tolist(), entries.codes, entries.slots.tolist(), entries.checksums.tolist())
        for picture_id, code, slot, checksum in zip(*columns, strict=True):
            self.rows[picture_id] = (code.tobytes(), slot, checksum)

    def remove(self, ids: NDArray[np.int64]) -> None:
        for picture_id in ids.tolist():
            self.rows.pop(picture_id, None)

    def nearest(
        self, code: Codes, pool: int | None, radius: int | None, among: NDArray[np.int64] | None = None
    ) -> list[Row]:
        wanted = self.rows if among is None else self.rows.keys() & set(among.tolist())
        number = int.from_bytes(code.tobytes())
        found = sorted(
            ((number ^ int.from_bytes(self.rows[picture_id][0])).bit_count(), picture_id) for picture_id in wanted
        )
        near = [(distance, picture_id) for distance, picture_id in found if radius is None or distance <= radius]
        return [(picture_id, distance, *self.rows[picture_id][1:]) for distance, picture_id in near[:pool]]


class Versions:
    """Makes entries; every one has a slot of its own, and a checksum that belongs to that slot alone."""

    def __init__(self, bits: int, rng: np.random.Generator, distinct: int) -> None:
        self.rng, self.made = rng, 0
        self.codes = rng.integers(0, 256, (distinct, bits // 8), np.uint8)

    def entries(self, ids: NDArray[np.int64]) -> Entries:
        slots = np.arange(self.made, self.made + len(ids))
        self.made += len(ids)
        codes = self.codes[self.rng.integers(0, len(self.codes), len(ids))]
        return Entries(ids, codes, slots, checksum_of(slots))


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
    """The same code with a few bits turned."""
    return np.packbits(np.unpackbits(code) ^ (rng.random(8 * len(code)) < 0.1))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("seed", "distinct"), [(0, 4), (1, 5000)])
def test_nearest_is_brute_force_through_growth_and_compaction(bits: int, seed: int, distinct: int) -> None:
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
def test_nearest_is_brute_force_for_few_pictures(
    bits: int,
    operations: list[tuple[str, NDArray[np.int64]]],
    pool: int | None,
    radius: int | None,
    among: NDArray[np.int64] | None,
) -> None:
    versions, table, reference = Versions(bits, np.random.default_rng(0), 3), CodeTable(bits), Reference()
    for what, ids in operations:
        if what == "remove":
            table.remove(ids)
            reference.remove(ids)
        else:
            entries = versions.entries(ids)
            table.add(entries)
            reference.add(entries)
    code = versions.codes[0]
    assert rows(table.nearest(code, pool, radius, subset(among))) == reference.nearest(code, pool, radius, among)
    assert {row[0] for row in rows(table.everything(subset(among)))} == {
        row[0] for row in reference.nearest(code, None, None, among)
    }
    assert len(table) == len(reference.rows)


def test_ties_by_id_hold_in_tables_longer_than_the_scan_s_blocks() -> None:
    rng = np.random.default_rng(3)
    count = 70_000
    codes = np.zeros((count, 8), np.uint8)
    codes[:, 3] = rng.choice([0, 1, 3], count)
    table = CodeTable(64)
    table.add(Entries(np.arange(count) * 2, codes, np.arange(count), np.zeros(count, np.uint32)))
    gone = np.arange(0, 12_000, 2)
    table.remove(gone)
    found = table.nearest(np.zeros(8, np.uint8), 30_000, None)
    hamming = np.bitwise_count(codes[6000:, 3]).astype(np.int64)
    expected = np.lexsort((np.arange(len(hamming)), hamming))[:30_000] + 6000
    np.testing.assert_array_equal(found.ids, 2 * expected)
    np.testing.assert_array_equal(found.hamming, hamming[expected - 6000])


def test_an_empty_table_finds_nothing() -> None:
    table, code = CodeTable(48), np.zeros(6, np.uint8)
    assert rows(table.nearest(code, 10, None)) == rows(table.everything()) == []
    assert rows(table.nearest(code, None, 3, Subset(np.array([1, 2])))) == []
    assert table.find(1) is None
    assert len(table) == 0


def test_a_table_whose_pictures_are_all_deleted_finds_nothing() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    ids = np.arange(900)
    table.add(versions.entries(ids))
    table.remove(ids)
    assert rows(table.nearest(versions.codes[0], 10, None)) == rows(table.everything()) == []
    assert len(table) == 0
    table.add(versions.entries(ids[:3]))
    assert len(table.nearest(versions.codes[0], 10, None)) == len(table) == 3


def test_removing_twice_or_what_is_not_there_does_no_harm() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    table.add(versions.entries(np.arange(10)))
    table.remove(np.array([3, 3, 77]))
    table.remove(np.array([3]))
    assert len(table) == 9
    assert table.everything().ids.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_find_gives_the_code_as_it_was_added() -> None:
    versions, table = Versions(48, np.random.default_rng(0), 50), CodeTable(48)
    entries = versions.entries(np.arange(5, 40))
    table.add(entries)
    found = table.find(17)
    assert found is not None
    code, itself = found
    np.testing.assert_array_equal(code, entries.codes[12])
    assert rows(itself) == [(17, 0, int(entries.slots[12]), int(entries.checksums[12]))]
    table.remove(np.array([17]))
    assert table.find(17) is None


def test_hamming_counts_the_bits_that_differ() -> None:
    versions, table, reference = Versions(48, np.random.default_rng(0), 50), CodeTable(48), Reference()
    entries = versions.entries(np.arange(0, 60, 3))
    table.add(entries)
    reference.add(entries)
    code = versions.codes[0]
    expected = {picture_id: distance for picture_id, distance, *_ in reference.nearest(code, None, None)}
    ids = np.array([57, 0, 33])
    assert table.hamming(code, ids).tolist() == [expected[picture_id] for picture_id in ids.tolist()]


def test_hamming_bears_pictures_that_were_deleted_since_they_were_found() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    table.add(versions.entries(np.arange(4000)))
    found = table.everything().ids
    table.remove(np.arange(2000, 4000))
    bits = table.hamming(versions.codes[0], found)
    assert bits[:2000].min() >= 0
    assert bits[2000:].tolist() == [-1] * 2000


def test_codes_of_another_length_are_refused() -> None:
    table = CodeTable(64)
    with pytest.raises(ValueError, match="codes have 8 bytes here, not 6"):
        table.nearest(np.zeros(6, np.uint8), 10, None)
    with pytest.raises(ValueError, match="codes have 8 bytes here, not 6"):
        table.add(Entries(np.arange(1), np.zeros((1, 6), np.uint8), np.arange(1), np.zeros(1, np.uint32)))


def test_memory_is_given_back_after_deletion() -> None:
    versions, table = Versions(64, np.random.default_rng(0), 2), CodeTable(64)
    table.add(versions.entries(np.arange(20_000)))
    before = table.bytes_in_use
    table.remove(np.arange(1000, 20_000))
    assert table.bytes_in_use < before / 10


@pytest.fixture
def threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_take_turns_often")
def test_searches_during_changes_see_only_what_was_there() -> None:
    """Ids below 1000 stay, and are replaced all the time; the others come and go."""
    versions, table = Versions(64, np.random.default_rng(0), 3), CodeTable(64)
    lasting, passing = np.arange(0, 1000), np.arange(1000, 3000)
    table.add(versions.entries(lasting))
    changed, wrong, among = threading.Event(), list[str](), Subset(lasting)

    def check(found: Candidates, what: str) -> None:
        if not np.array_equal(found.checksums, checksum_of(found.slots)):
            wrong.append(f"{what}: a row is half of one version and half of another")
        if not np.isin(lasting, found.ids).all() or len(np.unique(found.ids)) != len(found.ids):
            wrong.append(f"{what}: a picture is missing or comes twice")

    def search(code: Codes) -> None:
        try:
            while not changed.is_set():
                check(table.nearest(code, 100_000, None), "pool")
                check(table.nearest(code, None, 64), "radius")
                check(table.nearest(code, None, None, among), "among")
                check(table.everything(), "everything")
                table.hamming(code, table.nearest(code, 2500, None).ids)
        except Exception as error:
            wrong.append(repr(error))

    searching = [threading.Thread(target=search, args=(code,)) for code in versions.codes[:2]]
    for thread in searching:
        thread.start()
    for _ in range(300):
        table.add(versions.entries(passing))
        table.add(versions.entries(lasting))
        table.remove(passing)
    changed.set()
    for thread in searching:
        thread.join()
    assert wrong == []


@pytest.fixture
def every_order_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of few rows, kept however little they help, and not given up for a scan of everything."""
    monkeypatch.setattr("app.search.local.coarse.WORTH_COPYING", 2)
    monkeypatch.setattr("app.search.local.ivf_search.WORTH_COPYING", 2)
    monkeypatch.setattr("app.search.local.inverted_lists._ROWS_A_LIST", 60)


def grouped(bits: int, rng: np.random.Generator, groups: int, size: int) -> Codes:
    """Codes around some centres, a tenth of the bits turned, as networks make them that learnt from labels."""
    centres = rng.integers(0, 256, (groups, bits // 8), np.uint8)
    return near(np.repeat(centres, size, axis=0).reshape(-1), rng).reshape(groups * size, -1)


@pytest.mark.usefixtures("every_order_is_kept")
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("groups", [3, 40])
@pytest.mark.parametrize("given_up", [False, True])
def test_in_order_nearest_is_brute_force_through_every_change(
    bits: int, groups: int, given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given_up:
        monkeypatch.setattr("app.search.local.ivf_search._FIRST_LOOK", 1)
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
            table.put_in_order()
        if given_up:
            monkeypatch.setattr("app.search.local.ivf_search.WORTH_COPYING", (2, 0.1)[step % 4 > 0])
        for _ in range(4):
            code = near(versions.codes[rng.integers(len(versions.codes))], rng)
            pool, radius = LIMITS[rng.integers(len(LIMITS))], (None, 0, 3, bits // 3)[rng.integers(4)]
            among = (None, *(some_ids(rng, size, 7000) for size in (200, 1000, 7000)))[rng.integers(4)]
            found = rows(table.nearest(code, pool, radius, subset(among)))
            assert found == reference.nearest(code, pool, radius, among)
        some = some_ids(rng, 50, 7000)
        assert [table.find(int(one)) is not None for one in some] == [int(one) in reference.rows for one in some]
        assert len(table) == len(reference.rows)


def test_codes_in_groups_are_put_in_order_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.local.coarse._MANY", 20_000)
    monkeypatch.setattr("app.search.local.inverted_lists._ROWS_A_LIST", 250)
    rng = np.random.default_rng(0)
    for codes, ordered in ((grouped(128, rng, 10, 2500), True), (rng.integers(0, 256, (25_000, 16), np.uint8), False)):
        table, count = CodeTable(128), len(codes)
        ids = np.arange(count)
        table.add(Entries(ids[: count // 2], codes[: count // 2], ids[: count // 2], checksum_of(ids[: count // 2])))
        assert not table.wants_order, "few are read faster than chosen from"
        half = slice(count // 2, count)
        table.add(Entries(ids[half], codes[half], ids[half], checksum_of(ids[half])))
        assert table.wants_order
        table.put_in_order()
        assert not table.wants_order, "once is enough, whatever came of it"
        assert (table._columns.lists.end > 0) is ordered


@pytest.mark.usefixtures("every_order_is_kept", "threads_take_turns_often")
def test_changes_while_codes_are_put_in_order_are_not_lost() -> None:
    rng = np.random.default_rng(5)
    versions, table, reference = Versions(64, rng, 1), CodeTable(64), Reference()
    versions.codes = grouped(64, rng, 20, 200)
    first = versions.entries(np.arange(4000))
    table.add(first)
    reference.add(first)
    done = threading.Event()

    def order() -> None:
        while not done.is_set():
            table.put_in_order()

    ordering = threading.Thread(target=order)
    ordering.start()
    for step in range(150):
        gone, entries = some_ids(rng, 40, 4000 + step), versions.entries(some_ids(rng, 40, 4000 + step))
        table.remove(gone)
        reference.remove(gone)
        table.add(entries)
        reference.add(entries)
        code = versions.codes[rng.integers(len(versions.codes))]
        assert rows(table.nearest(code, 300, None)) == reference.nearest(code, 300, None)
    done.set()
    ordering.join()
    assert rows(table.nearest(versions.codes[0], None, None)) == reference.nearest(versions.codes[0], None, None)
