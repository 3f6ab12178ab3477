"""Code file: a table is read back as it was written, and every damaged file is detected."""

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.search.local import code_file
from app.search.local.coarse import CodeTable
from app.search.local.code_file import CodeFileError
from tests.search.test_coarse import Versions, rows

ID = "0123456789abcdef" * 2


@pytest.fixture(autouse=True, scope="module")
def lists_of_few_codes() -> Iterator[None]:
    """Build inverted lists of tables of any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.search.local.coarse.MAX_COPIED_SHARE", 2)
        yield


def table(bits: int, images: int, *, lists: bool = False, seed: int = 0) -> CodeTable:
    """A table after additions, updates and removals."""
    made, filled = Versions(bits, np.random.default_rng(seed), max(images // 8, 1)), CodeTable(bits)
    filled.add(made.entries(np.arange(1, images + 1) * 3))
    filled.add(made.entries(np.arange(images // 4) * 6 + 3))
    filled.remove(np.arange(images // 5) * 9 + 3)
    if lists:
        filled.build_lists()
        assert filled.saved()[0].snapshot.lists.end
        filled.remove(np.arange(images // 5) * 12 + 3)
        filled.add(made.entries(np.arange(3 * images + 1, 3 * images + 10)))
    return filled


def write(path: Path, filled: CodeTable) -> None:
    with path.open("wb") as file:
        code_file.write(file, ID, 7, 42, filled.saved()[0])


def read(path: Path, bits: int) -> CodeTable:
    loaded = CodeTable(bits)
    with path.open("rb") as file:
        loaded.load(code_file.read_table(file, code_file.read_header(file)))
    return loaded


def require_equal(one: CodeTable, two: CodeTable, bits: int) -> None:
    assert len(one) == len(two)
    assert one.needs_lists == two.needs_lists
    for query in np.random.default_rng(1).integers(0, 256, (8, bits // 8), np.uint8):
        for pool, radius in ((None, None), (10, None), (None, bits // 3), (50, bits // 2)):
            assert rows(one.nearest(query, pool, radius)) == rows(two.nearest(query, pool, radius))
    for name in ("ids", "codes", "slots", "checksums"):
        np.testing.assert_array_equal(getattr(one.entries(), name), getattr(two.entries(), name))


@pytest.mark.parametrize("bits", [48, 64, 128])
@pytest.mark.parametrize(("images", "lists"), [(0, False), (1, False), (500, False), (5000, True)])
def test_table_is_read_back_as_it_was_written(tmp_path: Path, bits: int, images: int, lists: bool) -> None:
    written = table(bits, images, lists=lists)
    write(tmp_path / "codes", written)
    loaded = read(tmp_path / "codes", bits)
    require_equal(written, loaded, bits)
    assert loaded.saved()[0].snapshot.lists.end == written.saved()[0].snapshot.lists.end
    assert loaded.unsaved == 0


def test_loaded_table_changes_as_the_written_one(tmp_path: Path) -> None:
    written = table(64, 3000, lists=True)
    write(tmp_path / "codes", written)
    loaded = read(tmp_path / "codes", 64)
    made = Versions(64, np.random.default_rng(5), 100)
    for change in (np.arange(1, 40), np.arange(20_000, 20_100), np.array([2]), np.arange(3, 900, 3)):
        entries = made.entries(change)
        for one in (written, loaded):
            one.add(entries)
            one.remove(change[::4])
        require_equal(written, loaded, 64)
    assert loaded.unsaved > 0


def test_header_states_what_the_file_is_of(tmp_path: Path) -> None:
    write(tmp_path / "codes", table(64, 20))
    with (tmp_path / "codes").open("rb") as file:
        header = code_file.read_header(file)
    assert (header.id, header.index_version_id, header.seq) == (ID, 7, 42)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_flipped_bit_is_detected(data: st.DataObject) -> None:
    damaged = bytearray(intact())
    at = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[at // 8] ^= 1 << at % 8
    require_rejected(bytes(damaged))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_changed_length_is_detected(data: st.DataObject) -> None:
    require_rejected(intact()[: data.draw(st.integers(0, len(intact()) - 1))])
    require_rejected(intact() + data.draw(st.binary(min_size=1, max_size=100)))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_lost_block_is_detected(data: st.DataObject) -> None:
    """A power cut may leave blocks of zeros."""
    begin = data.draw(st.integers(0, len(intact()) - 1))
    end = data.draw(st.integers(begin + 1, len(intact())))
    zeroed = intact()[:begin] + bytes(end - begin) + intact()[end:]
    if zeroed != intact():
        require_rejected(zeroed)


def test_newer_format_is_named() -> None:
    newer = bytearray(intact())
    newer[8] = 2
    with pytest.raises(CodeFileError, match="format 2, and this version reads format 1"):
        code_file.read_header(io.BytesIO(bytes(newer)))


def test_codes_of_another_length_are_rejected(tmp_path: Path) -> None:
    write(tmp_path / "codes", table(64, 20))
    with pytest.raises(CodeFileError, match="8 bytes, not 16"):
        read(tmp_path / "codes", 128)


def test_regrouping_counts_as_a_change() -> None:
    filled = table(64, 3000)
    filled.set_saved(filled.saved()[1])
    assert filled.unsaved == 0
    filled.build_lists()
    assert filled.unsaved >= len(filled)


@cache
def intact() -> bytes:
    out = io.BytesIO()
    code_file.write(out, ID, 7, 42, table(64, 600, lists=True).saved()[0])
    return out.getvalue()


def require_rejected(data: bytes) -> None:
    file = io.BytesIO(data)
    with pytest.raises(CodeFileError):
        code_file.read_table(file, code_file.read_header(file))
