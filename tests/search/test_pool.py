"""Pool selection when more images have the query's code than the pool holds."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.catalogue.vectors.file import VectorFile
from app.search import pool
from app.search.duplicates import find_duplicates
from app.search.index import LocalIndex
from app.search.pool import select_pool
from app.search.types import IndexEntries, Subset

SAME, OTHERS, BITS, DIM, LIMIT = 300, 40, 48, 8, 30
CODE = np.full(BITS // 8, 0xA5, np.uint8)
LAST = SAME - 1


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


def test_duplicate_with_the_largest_id_is_found(index: LocalIndex) -> None:
    found = find_duplicates(index, LAST - 1, 0.1, LIMIT)
    assert found is not None
    assert [(match.id, match.distance) for match in found] == [(LAST, 0.0)]
