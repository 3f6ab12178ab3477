"""Backbones of torchvision: `torchvision:NAME` or `torchvision:NAME.WEIGHTS`, such as `resnet50.IMAGENET1K_V1`.

F7 is the input of the class layer. Preprocessing is what torchvision publishes with the weights.
"""

from collections import OrderedDict
from difflib import get_close_matches
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from models.errors import ConfigError, WeightsUnavailableError
from models.network.backbones import Backbone, StateDict
from models.network.libraries.probing import library_backbone
from models.network.preprocess import Preprocess, Resampling

# After `backbones`, which makes torchvision importable.
# isort: split
import torchvision
from torchvision.models import MNASNet, VisionTransformer, get_model, get_model_builder, get_model_weights, list_models
from torchvision.models.vision_transformer import interpolate_embeddings

# Options of models with a second class layer, which is used in training only. Their weights read ImageNet's
# normalisation only with `transform_input`.
_AUXILIARY = {"aux_logits": False, "transform_input": True, "init_weights": True}
_OPTIONS = {"googlenet": _AUXILIARY, "inception_v3": _AUXILIARY}
_AUXILIARY_HEADS = ("aux1", "aux2", "AuxLogits")
_RESAMPLING: dict[str, Resampling] = {"bilinear": "bilinear", "lanczos": "lanczos"}


@cache
def torchvision_backbone(model: str, size: int | None = None) -> Backbone:
    """Return a classification model of torchvision as a backbone.

    Args:
        model: torchvision's name, with or without the name of its weights.
        size: input side in pixels. Default: that of the published weights.

    Raises:
        ConfigError: torchvision has no such model, it does not classify images, or it cannot take this size.
    """
    name, weights = f"torchvision:{model}", _find_weights(model)
    architecture = model.partition(".")[0]
    preprocess = _preprocess(weights)
    side = size or preprocess.size
    return library_backbone(
        name,
        preprocess,
        side,
        build=partial(_build, architecture),
        imagenet=partial(_published_weights, architecture, side, weights),
        heads=(_class_layer_name(architecture, preprocess.size), *_AUXILIARY_HEADS),
        adapt=_adapt,
        provenance={
            "library": f"torchvision {torchvision.__version__}",
            "weights": f"{type(weights).__name__}.{weights.name}",
            "licence": weights.meta.get("license", "BSD-3-Clause"),
        },
    )


def _find_weights(model: str) -> Any:
    """Return the weights that a model's name means.

    Raises:
        ConfigError: torchvision has no such model or weights, or it is not a model for classification.
    """
    architecture, _, chosen = model.partition(".")
    classifiers = list_models(module=torchvision.models)
    if architecture not in classifiers:
        if architecture in list_models():
            use = get_model_builder(architecture).__module__.split(".")[-2]
            raise ConfigError(
                f"torchvision:{model} is a model for {use}, which has no pooled features. Choose one that classifies "
                "images, such as torchvision:resnet50."
            )
        near = get_close_matches(architecture, classifiers, n=3, cutoff=0.4)
        hint = f"The nearest names are {', '.join(near)}. " if near else ""
        raise ConfigError(
            f"torchvision {torchvision.__version__} has no image model {model}. {hint}It has {', '.join(classifiers)}."
        )
    published = get_model_weights(architecture)
    if chosen and chosen not in published.__members__:
        raise ConfigError(
            f"torchvision:{model}: there are no weights {chosen!r} of {architecture}. There are "
            f"{', '.join(published.__members__)}."
        )
    return published[chosen] if chosen else published["DEFAULT"]


def _preprocess(weights: Any) -> Preprocess:
    published = weights.transforms()
    size = published.crop_size[0]
    return Preprocess(
        size=size,
        fit="crop",
        mean=tuple(255 * value for value in published.mean),
        std=tuple(255 * value for value in published.std),
        crop_ratio=min(size / published.resize_size[0], 1.0),
        resampling=_RESAMPLING.get(published.interpolation.value, "bicubic"),
    )


def _build(architecture: str, size: int) -> nn.Module:
    network = _with_class_layer(architecture, size)
    if isinstance(network, MNASNet):
        # Its class loads only state dicts with a version, which files of weights have not.
        pool, flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        return nn.Sequential(OrderedDict(layers=network.layers, pool=pool, flatten=flatten))
    network.set_submodule(_class_layer(network), nn.Identity())
    return network


def _with_class_layer(architecture: str, size: int) -> nn.Module:
    options: dict[str, Any] = dict(_OPTIONS.get(architecture, {}))
    if architecture.startswith("vit_"):
        options["image_size"] = size
    if architecture == "maxvit_t":
        options["input_size"] = (size, size)
    network: nn.Module = get_model(architecture, **options)
    return network


def _class_layer(network: nn.Module) -> str:
    """Return the name of the last layer, which is a convolution in SqueezeNet."""
    names: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return names[-1]


def _class_layer_name(architecture: str, size: int) -> str:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return _class_layer(_with_class_layer(architecture, size))


def _published_weights(architecture: str, size: int, weights: Any) -> StateDict:
    """Load the published weights by torchvision's own download and its cache.

    Raises:
        WeightsUnavailableError: they cannot be downloaded.
    """
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WeightsUnavailableError(
            f"torchvision could not download the weights of {architecture} ({error}). Download them from {weights.url} "
            "on a machine with a network, and give the file with --weights FILE."
        ) from error
    network = _build(architecture, size)
    expected = network.state_dict()
    return {name: value for name, value in _adapt(state, network).items() if name in expected}


def _adapt(state: StateDict, network: nn.Module) -> StateDict:
    """Convert the position embeddings of a vision transformer to its input size, as torchvision documents."""
    if not isinstance(network, VisionTransformer):
        return state
    adapted: StateDict = interpolate_embeddings(network.image_size, network.patch_size, dict(state))
    return adapted
