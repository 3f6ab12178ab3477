"""Rocchio's formula on F7 and on codes."""

import numpy as np
import pytest

from app.errors import InvalidInputError
from app.search.rocchio import UNLIKE_FRACTION, combine_codes, combine_features, shares_of
from models.network.codes import hamming, unpack
from tests.search.example_images import NORMS, examples


def test_shares_add_up_to_one_and_minus_the_fraction() -> None:
    asked = examples([1, 2, 3], [4, 5], {"like": [1, 2, 1], "unlike": [3, 1]})
    np.testing.assert_allclose(
        shares_of(asked), [0.25, 0.5, 0.25, -0.75 * UNLIKE_FRACTION, -0.25 * UNLIKE_FRACTION], rtol=1e-12
    )
    huge = examples([1, 2], weights={"like": [1e308, 1e308]})
    np.testing.assert_array_equal(shares_of(huge), [0.5, 0.5])


def test_asymmetric_distance_to_votes_is_the_sum_of_hamming_distances() -> None:
    rng = np.random.default_rng(0)
    codes, others = rng.integers(0, 256, (3, 4), np.uint8), rng.integers(0, 256, (200, 4), np.uint8)
    shares = np.array([0.5, 0.5, -0.5])
    votes = combine_codes(codes, shares)
    asymmetric = (unpack(others ^ np.packbits(votes > 0)) * np.abs(votes)).sum(axis=1)
    mean = sum(share * hamming(code, others) for share, code in zip(shares, codes, strict=True))
    assert np.ptp(asymmetric - np.asarray(mean)) < 1e-9


def test_examples_that_cancel_out_raise() -> None:
    features = np.array([[1, 0], [-1, 0]], np.float32)
    for norm in NORMS:
        with pytest.raises(InvalidInputError, match="cancel each other out"):
            combine_features(features, np.array([0.5, 0.5]), norm)
    combined = combine_features(np.array([[3, 0], [0, 4]], np.float32), np.array([0.5, 0.5]), "unit")
    np.testing.assert_allclose(combined, [0.6, 0.8], rtol=1e-6)
    assert combined.dtype == np.float32
