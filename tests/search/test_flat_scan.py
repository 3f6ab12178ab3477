"""The flat scan of codes compared with a full sort: by selection from all distances, and by FAISS's top-k."""

import numpy as np
import pytest

from app.search.local import ivf_search
from app.search.local.code_table import empty_snapshot
from app.search.local.ivf_search import nearest
from app.search.types import IndexEntries

RNG = np.random.default_rng(0)
COUNT, WIDTH = 4000, 8
QUERY = RNG.integers(0, 256, WIDTH, np.uint8)
RANDOM = RNG.integers(0, 256, (COUNT, WIDTH), np.uint8)
# Bits flip rarely, so hundreds of codes tie.
TIED = QUERY ^ (RANDOM & np.roll(RANDOM, 1, axis=0) & np.roll(RANDOM, 2, axis=0) & np.roll(RANDOM, 3, axis=0))
# The rows that a sample reads are all nearer than the others, or all farther.
NEAR_SAMPLE, FAR_SAMPLE = RANDOM.copy(), TIED.copy()
NEAR_SAMPLE[:: ivf_search._SAMPLE_STEP] = QUERY
FAR_SAMPLE[:: ivf_search._SAMPLE_STEP] = ~QUERY


@pytest.mark.parametrize("top_k", [False, True], ids=["selection", "top-k"])
@pytest.mark.parametrize("radius", [None, 0, 3, 25])
@pytest.mark.parametrize("wanted", [1, 10, 50, 1000, COUNT - 1, COUNT])
@pytest.mark.parametrize("codes", [RANDOM, TIED, NEAR_SAMPLE, FAR_SAMPLE], ids=["random", "tied", "near", "far"])
def test_flat_scan_equals_a_full_sort(
    codes: np.typing.NDArray[np.uint8], wanted: int, radius: int | None, top_k: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if top_k:
        monkeypatch.setattr(ivf_search, "_MIN_CODES_FOR_TOP_K", 0)
    ids = np.arange(COUNT)
    entries = IndexEntries(ids, codes, ids, ids.astype(np.uint32))
    distances = np.bitwise_count(codes ^ QUERY).sum(axis=1)
    expected = np.argsort(distances, kind="stable")[:wanted]
    if radius is not None:
        expected = expected[distances[expected] <= radius]
    found = nearest(empty_snapshot(WIDTH).with_entries(entries), QUERY, wanted, radius, None)
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.distances, distances[expected])
