"""FAISS's kernels as they are called, against NumPy."""

import numpy as np
import pytest

from app.search.local import kernels
from app.search.local.kernels import nearest_centres, nearest_codes

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 256, (5000, 8), np.uint8)


@pytest.mark.parametrize("cores", [1, 2, 3, 7])
@pytest.mark.parametrize("k", [1, 10, 800, 5000])
def test_a_scan_that_is_split_finds_what_one_scan_does(cores: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_CORES", cores)
    monkeypatch.setattr(kernels, "_LONG", 100)
    query = RNG.integers(0, 256, 8, np.uint8)
    flat = np.bitwise_count(CODES ^ query).sum(axis=1)
    expected = np.lexsort((np.arange(len(CODES)), flat))[:k]
    distances, positions = nearest_codes(query, CODES, k)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(distances, flat[expected])


@pytest.mark.parametrize("k", [0, 5001])
def test_more_than_there_are_and_none_at_all_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"no {k} nearest of 5000"):
        nearest_codes(CODES[0], CODES, k)


def test_the_nearest_centre_is_found_for_each_code() -> None:
    centres = CODES[:20]
    flat = np.bitwise_count(CODES[:, None] ^ centres).sum(axis=2)
    distances, nearest = nearest_centres(CODES, centres)
    np.testing.assert_array_equal(distances, flat.min(axis=1))
    np.testing.assert_array_equal(flat[np.arange(len(CODES)), nearest], flat.min(axis=1))
