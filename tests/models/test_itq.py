import numpy as np
import pytest

from models.errors import DatasetError
from models.training.itq import itq, lsh


def clusters(count: int = 400, dim: int = 32, centres: int = 8) -> np.typing.NDArray[np.float32]:
    rng = np.random.default_rng(3)
    middle = rng.normal(size=(centres, dim)) * 3 + 1
    return (middle[rng.integers(0, centres, count)] + rng.normal(size=(count, dim))).astype(np.float32)


def signs(features: np.typing.NDArray[np.float32], planes: tuple[np.typing.NDArray[np.float32], ...]) -> object:
    weights, biases = planes
    return np.where(features @ weights.T + biases > 0, 1.0, -1.0)


def test_itq_hyperplanes_are_orthogonal_up_to_scale() -> None:
    weights, _ = itq(clusters(), bits=16)
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    np.testing.assert_allclose(unit @ unit.T, np.eye(16), atol=1e-4)


def test_itq_quantisation_error_is_lower_than_pca() -> None:
    features = clusters()
    centred = features - features.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    projected = centred @ axes[:, ::-1][:, :16]

    def lost(rotated: np.typing.NDArray[np.floating]) -> float:
        return float(np.square(np.sign(rotated) - rotated).sum())

    weights, _ = itq(features, bits=16)
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    assert lost(centred @ unit.T) < lost(projected)


def test_itq_bits_agree_more_within_clusters() -> None:
    features = clusters()
    codes = np.asarray(signs(features, itq(features, bits=16)))
    distance = np.linalg.norm(features[0] - features, axis=1)
    differ = (codes[0] != codes).sum(axis=1)
    near, far = np.argsort(distance)[1:20], np.argsort(distance)[-20:]
    assert differ[near].mean() < differ[far].mean()


def test_activations_do_not_saturate() -> None:
    features = clusters()
    for planes in (itq(features, bits=16), lsh(features, bits=16)):
        projected = features @ planes[0].T + planes[1]
        np.testing.assert_allclose(projected.std(axis=0), 1, rtol=1e-3)
        np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-3)


def test_itq_with_too_few_images_raises() -> None:
    with pytest.raises(DatasetError, match="fewer bits, or lsh"):
        itq(clusters(count=10), bits=16)
    assert lsh(clusters(count=10), bits=16)[0].shape == (16, 32)
