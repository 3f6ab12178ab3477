"""FAISS kernels compared with NumPy."""

import numpy as np
import pytest

from app.search.local import kernels
from app.search.local.kernels import nearest_centres, nearest_codes

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 256, (5000, 8), np.uint8)


@pytest.mark.parametrize("cores", [1, 2, 3, 7])
@pytest.mark.parametrize("k", [1, 10, 800, 5000])
def test_parallel_scan_equals_a_single_scan(cores: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_CORES", cores)
    monkeypatch.setattr(kernels, "_MIN_CODES_PER_THREAD", 100)
    query = RNG.integers(0, 256, 8, np.uint8)
    flat = np.bitwise_count(CODES ^ query).sum(axis=1)
    expected = np.lexsort((np.arange(len(CODES)), flat))[:k]
    distances, positions = nearest_codes(query, CODES, k)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(distances, flat[expected])


@pytest.mark.parametrize("k", [0, 5001])
def test_k_out_of_range_raises(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}, expected 1 to 5000"):
        nearest_codes(CODES[0], CODES, k)


def test_nearest_centres_equals_brute_force() -> None:
    centres = CODES[:20]
    flat = np.bitwise_count(CODES[:, None] ^ centres).sum(axis=2)
    distances, nearest = nearest_centres(CODES, centres)
    np.testing.assert_array_equal(distances, flat.min(axis=1))
    np.testing.assert_array_equal(flat[np.arange(len(CODES)), nearest], flat.min(axis=1))
