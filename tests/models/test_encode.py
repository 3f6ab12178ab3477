"""The fastest encoder against the network itself."""

import numpy as np
import pytest
import torch

from models.network import encode as module
from models.network.codes import hamming
from models.network.encode import encode, encoder
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess


@pytest.fixture
def network() -> LatentHashNet:
    torch.manual_seed(0)
    return LatentHashNet("efficientnet_lite0", 48, 3, Preprocess(64, "stretch", (127,) * 3, (128,) * 3), "unit")


def test_encoder_for_many_images_matches_torch(network: LatentHashNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MIN_IMAGES_TO_CONVERT", 70)
    images = np.random.default_rng(0).integers(0, 256, (70, 64, 64, 3), np.uint8)
    codes, features = encode(network, images)
    quick_codes, quick_features = encoder(network, len(images))(images)
    np.testing.assert_allclose(quick_features, features, atol=1e-4)
    # A unit near 0.5 may fall on either side.
    assert max(int(hamming(one, other[None])[0]) for one, other in zip(codes, quick_codes, strict=True)) <= 1


def test_encoder_for_few_images_skips_conversion(network: LatentHashNet) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    for few, expected in zip(encoder(network, 3)(images), encode(network, images), strict=True):
        np.testing.assert_array_equal(few, expected)
