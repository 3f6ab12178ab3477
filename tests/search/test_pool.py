"""Where more pictures have the query's code than a pool holds, none of them is out of reach."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.catalogue.vectors.file import VectorFile
from app.search import pool
from app.search.duplicates import duplicates
from app.search.index import LocalIndex
from app.search.pool import pool_of
from app.search.types import Entries, Subset

SAME, OTHERS, BITS, DIM, LIMIT = 300, 40, 48, 8, 30
CODE = np.full(BITS // 8, 0xA5, np.uint8)
LAST = SAME - 1


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LocalIndex]:
    """Three hundred pictures of one code, ids 0 to 299, the last two the same; then forty of another each."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(SAME + OTHERS, DIM)).astype(np.float32)
    features[LAST] = features[LAST - 1]
    ids = np.arange(SAME + OTHERS)
    codes = np.concatenate([np.tile(CODE, (SAME, 1)), rng.integers(0, 256, (OTHERS, BITS // 8), np.uint8)])
    with closing(VectorFile(tmp_path / "vectors.f32", DIM)) as vectors:
        made = LocalIndex(BITS, vectors)
        made.add(Entries(ids, codes, ids, vectors.write(ids, features)))
        yield made


def test_all_of_the_query_s_own_code_are_candidates(index: LocalIndex) -> None:
    assert pool_of(index, CODE, LIMIT).ids.tolist() == list(range(SAME))
    assert pool_of(index, CODE, LIMIT, radius=3).ids.tolist() == list(range(SAME))


def test_only_those_that_a_filter_lets_pass(index: LocalIndex) -> None:
    some = np.arange(0, SAME, 2)
    assert pool_of(index, CODE, LIMIT, among=Subset(some)).ids.tolist() == some.tolist()


def test_they_are_bounded_too(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SAME", 100)
    assert pool_of(index, CODE, LIMIT).ids.tolist() == list(range(100))
    assert len(pool_of(index, CODE, 200)) == 200, "whoever asks for more gets that"


def test_every_other_pool_is_as_large_as_was_asked_for(index: LocalIndex) -> None:
    near = CODE.copy()
    near[0] ^= 1
    assert len(pool_of(index, near, LIMIT)) == LIMIT
    assert len(pool_of(index, CODE, SAME + 5)) == SAME + 5
    assert len(pool_of(index, CODE, None)) == SAME + OTHERS


def test_the_newest_copy_is_a_duplicate(index: LocalIndex) -> None:
    found = duplicates(index, LAST - 1, 0.1, LIMIT)
    assert found is not None
    assert [(match.id, match.distance) for match in found] == [(LAST, 0.0)]
