"""The latent layer between F7 and F8, and the search head."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.checkpoint.info import FeatureNorm
from models.errors import ConfigError
from models.network.backbones import BACKBONES, Backbone
from models.network.latent_hash_net import LatentHashNet, SearchHead
from models.network.preprocess import Preprocess

PREPROCESS = Preprocess(8, "stretch", (10.0, 20.0, 30.0), (2.0, 4.0, 5.0))


class Means(nn.Module):
    """Backbone whose F7 is each channel's mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


@pytest.fixture(autouse=True)
def _means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "means", Backbone("means", 3, 1, PREPROCESS, 0.1, Means, dict))


def network(bits: int = 16, classes: int = 5, norm: FeatureNorm = "raw") -> LatentHashNet:
    return LatentHashNet("means", bits, classes, PREPROCESS, norm).eval()


def plain(*colours: tuple[int, int, int]) -> Tensor:
    return torch.tensor(colours, dtype=torch.uint8).view(-1, 1, 1, 3).expand(-1, 8, 8, 3)


def test_images_are_normalised_per_channel() -> None:
    found = network().features(plain((12, 28, 30), (255, 0, 0)))
    torch.testing.assert_close(found, torch.tensor([[1.0, 2, 0], [122.5, -5, -6]]))


def test_h_is_a_sigmoid_layer_on_f7_and_f8_linear_on_h() -> None:
    made, images = network(), plain((12, 28, 30), (1, 2, 3))
    logits, h = made(images)
    f7 = made.features(images)
    expected = 1 / (1 + torch.exp(-(f7 @ made.latent.weight.T + made.latent.bias)))
    torch.testing.assert_close(h, expected)
    assert isinstance(made.classifier, nn.Linear)
    torch.testing.assert_close(logits, expected @ made.classifier.weight.T + made.classifier.bias)
    assert (logits.shape, h.shape) == ((2, 5), (2, 16))


def test_search_head_returns_raw_or_unit_f7() -> None:
    images = plain((12, 28, 30), (1, 2, 3))
    raw = network()
    unit = network(norm="unit")
    unit.load_state_dict(raw.state_dict())
    (h, f7), (h_unit, f7_unit) = SearchHead(raw)(images), SearchHead(unit)(images)
    torch.testing.assert_close(f7, raw.features(images))
    torch.testing.assert_close(f7_unit, f7 / f7.norm(dim=1, keepdim=True))
    torch.testing.assert_close(h, raw.activations(f7))
    torch.testing.assert_close(h_unit, h, rtol=0, atol=0)


def test_network_without_classes_has_no_class_layer() -> None:
    made = network(classes=0)
    assert not [name for name in made.state_dict() if name.startswith("classifier")]
    assert SearchHead(made)(plain((1, 2, 3)))[0].shape == (1, 16)


@pytest.mark.parametrize("bits", [0, -8, 7, 12])
def test_bits_not_a_multiple_of_8_raise(bits: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 8"):
        network(bits=bits)


def test_unknown_backbone_raises() -> None:
    with pytest.raises(ConfigError, match=r"Unknown backbone vgg.*alexnet"):
        LatentHashNet("vgg", 16, 2, replace(PREPROCESS))


def test_image_size_below_the_backbone_minimum_raises() -> None:
    preprocess = replace(BACKBONES["alexnet"].preprocess, size=60)
    with pytest.raises(ConfigError, match="Image size 60: alexnet needs 63 pixels or more"):
        LatentHashNet("alexnet", 8, 2, preprocess)


def test_network_with_two_views_averages_their_f7() -> None:
    one = network()
    both = LatentHashNet("means", 16, 0, replace(PREPROCESS, fit="stretch+crop")).eval()
    both.latent.load_state_dict(one.latent.state_dict())
    views = [plain((12, 28, 30), (1, 2, 3)), plain((200, 8, 3), (77, 66, 55))]
    expected = (one.features(views[0]) + one.features(views[1])) / 2
    stacked = torch.cat(views, dim=1)
    assert stacked.shape == (2, *both.preprocess.shape)
    torch.testing.assert_close(both.features(stacked), expected)
    torch.testing.assert_close(SearchHead(both)(stacked)[0], one.activations(expected))
