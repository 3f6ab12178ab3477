"""Packing of activations, and Hamming distances."""

import numpy as np
import pytest

from models.network.codes import binarise, hamming, unpack


def test_binarise_thresholds_at_a_half_with_the_first_unit_as_highest_bit() -> None:
    activations = np.array([[0.9, 0, 0, 0, 0, 0, 0, 0.51], [0.5, 1, 0.4999, 0.5000001, 0, 0, 1, 0]], np.float32)
    assert binarise(activations).tolist() == [[0b10000001], [0b01010010]]


def test_unpack_inverts_binarise() -> None:
    activations = np.random.default_rng(0).random((20, 48)).astype(np.float32)
    codes = binarise(activations)
    assert codes.shape == (20, 6)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(unpack(codes), activations > 0.5)


@pytest.mark.parametrize("shape", [(48,), (3, 47), (2, 2, 8)])
def test_binarise_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        binarise(np.zeros(shape, np.float32))


def test_hamming_counts_bits() -> None:
    rng = np.random.default_rng(0)
    query, codes = rng.integers(0, 256, 16, np.uint8), rng.integers(0, 256, (50, 16), np.uint8)
    expected = [bin(int.from_bytes(query.tobytes()) ^ int.from_bytes(code.tobytes())).count("1") for code in codes]
    found = hamming(query, codes)
    assert found.tolist() == expected
    assert hamming(query, np.stack([query, ~query])).tolist() == [0, 128]
    assert hamming(query, codes[:0]).shape == (0,)
