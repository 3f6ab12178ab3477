"""Candidates by code in both orders, and pools when more images have the query's code than the pool holds."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalogue.vectors.file import VectorFile
from app.search import pool
from app.search.duplicates import DuplicateFinder, DuplicateKind
from app.search.local.index import LocalIndex
from app.search.pool import nearest_by_code, select_pool, shortlist_size
from app.search.types import IndexEntries, Subset
from tests.search.coarse_order import CoarseOrder, short_shortlists

SAME, OTHERS, BITS, DIM, LIMIT = 300, 40, 48, 8, 30
CODE = np.full(BITS // 8, 0xA5, np.uint8)
LAST = SAME - 1
# Of the query with the code `CODE`.
PROJECTIONS = (2.0 * np.unpackbits(CODE) - 1) * np.arange(1.0, BITS + 1)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LocalIndex]:
    """300 images with one code, ids 0 to 299, the last two with equal F7; then 40 with random codes."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(SAME + OTHERS, DIM)).astype(np.float32)
    features[LAST] = features[LAST - 1]
    ids = np.arange(SAME + OTHERS)
    codes = np.concatenate([np.tile(CODE, (SAME, 1)), rng.integers(0, 256, (OTHERS, BITS // 8), np.uint8)])
    with closing(VectorFile(tmp_path / "vectors.f32", DIM)) as vectors:
        made = LocalIndex(BITS, vectors)
        made.add(IndexEntries(ids, codes, ids, vectors.write(ids, features)))
        yield made


def test_all_images_with_the_querys_code_are_candidates(index: LocalIndex) -> None:
    assert select_pool(index, CODE, LIMIT).ids.tolist() == list(range(SAME))
    assert select_pool(index, CODE, LIMIT, radius=3).ids.tolist() == list(range(SAME))


def test_candidates_pass_the_filter(index: LocalIndex) -> None:
    some = np.arange(0, SAME, 2)
    assert select_pool(index, CODE, LIMIT, among=Subset(some)).ids.tolist() == some.tolist()


def test_candidates_with_the_querys_code_are_limited(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_EQUAL_CODES", 100)
    assert select_pool(index, CODE, LIMIT).ids.tolist() == list(range(100))
    assert len(select_pool(index, CODE, 200)) == 200, "a larger limit is respected"


def test_other_pools_have_the_requested_size(index: LocalIndex) -> None:
    near = CODE.copy()
    near[0] ^= 1
    assert len(select_pool(index, near, LIMIT)) == LIMIT
    assert len(select_pool(index, CODE, SAME + 5)) == SAME + 5
    assert len(select_pool(index, CODE, None)) == SAME + OTHERS


def test_equal_codes_are_first_in_asymmetric_order_too(index: LocalIndex) -> None:
    assert select_pool(index, CODE, LIMIT, projections=PROJECTIONS).ids.tolist() == list(range(SAME))
    undecided = np.zeros(BITS)
    assert select_pool(index, CODE, LIMIT, projections=undecided).ids.tolist() == list(range(SAME))


def test_shortlist_has_ten_times_as_many_within_bounds() -> None:
    sizes = {1: 2000, 200: 2000, 201: 2010, 1000: 10_000, 2000: 20_000, 9000: 20_000, 30_000: 30_000, None: None}
    assert {limit: shortlist_size(limit) for limit in sizes} == sizes


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 2**32),
    st.integers(0, 50),
    st.none() | st.integers(1, 60),
    st.none() | st.integers(0, 16),
    st.booleans(),
    st.booleans(),
)
def test_candidates_equal_brute_force(
    seed: int, count: int, limit: int | None, radius: int | None, filtered: bool, asymmetric: bool
) -> None:
    rng = np.random.default_rng(seed)
    ids, codes = np.arange(count), rng.integers(0, 256, (count, 2), np.uint8) & rng.integers(0, 256, 2, np.uint8)
    # Whole numbers, so that sums are exact, and zeros, so that different codes tie.
    projections = rng.integers(-3, 4, 16).astype(np.float64)
    code, among = np.packbits(projections > 0), Subset(np.flatnonzero(rng.random(count) < 0.6)) if filtered else None
    order = CoarseOrder.of(code, codes, projections if asymmetric else None)
    passing = (ids if among is None else among.ids).tolist()
    near = [at for at in passing if radius is None or order.hamming[at] <= radius]
    with (
        TemporaryDirectory() as folder,
        closing(VectorFile(Path(folder) / "vectors", 1)) as vectors,
        short_shortlists(6, 2, 20),
    ):
        index = LocalIndex(16, vectors)
        index.add(IndexEntries(ids, codes, ids, np.zeros(count, np.uint32)))
        found = nearest_by_code(index, code, limit, radius, among, projections if asymmetric else None)
        assert found.ids.tolist() == order.first(near, limit)
    assert found.hamming.tolist() == [order.hamming[at] for at in found.ids.tolist()]
    assert found.slots.tolist() == found.ids.tolist()


def test_duplicate_with_the_largest_id_is_found(index: LocalIndex) -> None:
    finder = DuplicateFinder(
        index, LIMIT, lambda _, others: set(others), lambda _: set(), DuplicateKind.EXACT, copies=0.1, near=0.1
    )
    found = finder.of_image(LAST - 1)
    assert found is not None
    assert [(match.id, match.distance) for match in found] == [(LAST, 0.0)]
