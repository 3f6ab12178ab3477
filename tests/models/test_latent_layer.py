"""H over stored F7: exact, and equal for equal F7."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import CheckpointError
from models.network.latent_layer import (
    LatentLayer,
    asymmetric_distances,
    fit_latent_layer,
    from_bytes,
    to_bytes,
)


def draw(seed: int, count: int, dim: int, bits: int, scale: float = 1.0) -> tuple[LatentLayer, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = (scale * rng.normal(size=(count, dim))).astype(np.float32)
    weights = rng.normal(size=(bits, dim)).astype(np.float32)
    return fit_latent_layer(weights, rng.normal(size=bits).astype(np.float32), features), features


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 64, 1280, 4096]), st.floats(1e-3, 1e3))
def test_equal_f7_gives_equal_projections_in_every_batch(seed: int, dim: int, scale: float) -> None:
    layer, features = draw(seed, 70, dim, 64, scale)
    together = layer.projections(features)
    alone = np.concatenate([layer.projections(row[None]) for row in features])
    assert np.array_equal(together, alone)
    order = np.random.default_rng(seed).permutation(dim)
    shuffled = LatentLayer(layer.weights[:, order], layer.biases, layer.feature_range)
    assert np.array_equal(together, shuffled.projections(features[:, order]))


def test_projections_are_those_of_the_hyperplanes() -> None:
    layer, features = draw(1, 200, 1280, 128)
    expected = features.astype(np.float64) @ layer.weights.T.astype(np.float64) + layer.biases
    assert np.allclose(layer.projections(features), expected, rtol=1e-4, atol=1e-3)
    bits = np.unpackbits(layer.codes(features), axis=1).astype(bool)
    clear = np.abs(expected) > 1e-3
    assert np.array_equal(bits[clear], (expected > 0)[clear])


def test_values_beyond_the_range_are_cut_off() -> None:
    layer = LatentLayer(np.ones((8, 4), np.float32), np.zeros(8, np.float32), 1.0)
    far, edge = np.full((1, 4), 1e9, np.float32), np.ones((1, 4), np.float32)
    assert np.array_equal(layer.projections(far), layer.projections(edge))


def test_a_row_of_zeros_is_a_constant_bit() -> None:
    layer = LatentLayer(np.zeros((8, 4), np.float32), np.ones(8, np.float32), 1.0)
    assert layer.codes(np.ones((3, 4), np.float32)).tolist() == [[255]] * 3


def test_stored_layers_are_read_as_they_were() -> None:
    layer, features = draw(2, 50, 96, 24)
    again = from_bytes(to_bytes(layer))
    assert again.fingerprint == layer.fingerprint
    assert np.array_equal(again.codes(features), layer.codes(features))
    other, _ = draw(3, 50, 96, 24)
    assert other.fingerprint != layer.fingerprint


@pytest.mark.parametrize("damaged", [b"", b"not safetensors", to_bytes(draw(1, 9, 8, 8)[0])[:-9]])
def test_damaged_layers_are_refused(damaged: bytes) -> None:
    with pytest.raises(CheckpointError, match="stored latent layer"):
        from_bytes(damaged)


def test_asymmetric_distance_is_the_sum_of_margins_of_differing_bits() -> None:
    layer, features = draw(4, 300, 40, 64)
    projections, codes = layer.projections(features[:1])[0], layer.codes(features)
    found = asymmetric_distances(projections, codes[0], codes)
    differ = np.unpackbits(codes ^ codes[0], axis=1).astype(bool)
    assert np.allclose(found, (differ * np.abs(projections)).sum(axis=1), rtol=1e-5)
    assert found[0] == 0
    alone = [asymmetric_distances(projections, codes[0], code[None])[0] for code in codes]
    assert np.array_equal(found, alone)
