"""Backbones of timm: `timm:NAME` or `timm:NAME.TAG`, the tag being that of published weights.

F7 is the model's pooled output without its class layer. Preprocessing is what timm publishes with the weights.
"""

import re
import sys
from difflib import get_close_matches
from functools import cache, partial
from typing import Any, cast

from torch import nn

from models.errors import ConfigError, WeightsUnavailableError
from models.network.backbones import Backbone, StateDict, adapt_lite, efficientnet_lite_imagenet
from models.network.libraries.probing import library_backbone
from models.network.preprocess import Fit, Preprocess, Resampling

# After `backbones`, which makes torchvision importable: timm imports it.
# isort: split
import timm
from timm.models import PretrainedCfg, get_deprecated_models, get_pretrained_cfg, is_model, list_models

_RGB = 3
_FITS: dict[str, Fit] = {"center": "crop", "squash": "stretch", "border": "pad"}
_RESAMPLING: dict[str, Resampling] = {"bilinear": "bilinear", "random": "bilinear", "lanczos": "lanczos"}


@cache
def timm_backbone(model: str, size: int | None = None) -> Backbone:
    """Return a model of timm as a backbone.

    Args:
        model: timm's name, with or without the tag of the weights.
        size: input side in pixels. Default: that of the published weights.

    Raises:
        ConfigError: timm has no such model, it has no pooled features, or it cannot take this size.
    """
    name, about = f"timm:{model}", _published_config(model)
    preprocess = _preprocess(name, about)
    side = size or preprocess.size
    return library_backbone(
        name,
        preprocess,
        side,
        build=partial(_build, model, takes_size=about.fixed_input_size),
        imagenet=partial(_published_weights, model, side, about),
        heads=(about.classifier,) if isinstance(about.classifier, str) else tuple(about.classifier or ()),
        adapt=_adapt,
        provenance={
            "library": f"timm {timm.__version__}",
            "weights": about.hf_hub_id or about.url or "none",
            "licence": about.license or "not stated by timm",
        },
    )


def _published_config(model: str) -> Any:
    """Return timm's configuration of a model's weights.

    Raises:
        ConfigError: timm has no such model, or no such weights of it.
    """
    architecture, _, tag = model.partition(".")
    if is_model(model) and architecture not in get_deprecated_models():
        try:
            return get_pretrained_cfg(model) or PretrainedCfg()
        except RuntimeError as error:
            known = [other.partition(".")[2] for other in list_models(f"{architecture}.*", include_tags=True)]
            raise ConfigError(
                f"timm:{model}: timm {timm.__version__} has no weights {tag!r} of {architecture}. It has "
                f"{', '.join(filter(None, known)) or 'none'}. Without a tag, timm:{architecture} has its default."
            ) from error
    replacement = get_deprecated_models().get(architecture)
    # Names of weights are nearest to a name with a tag, and names of models to one without.
    near = get_close_matches(model, list_models(include_tags="." in model), n=3, cutoff=0.4)
    hint = f"The nearest names are {', '.join(near)}. " if near else ""
    if replacement:
        hint = f"It is now called timm:{replacement}. "
    raise ConfigError(
        f"timm {timm.__version__} has no image model {model}. {hint}"
        "`python -c 'import timm; print(*timm.list_models())'` lists all."
    )


def _preprocess(name: str, about: Any) -> Preprocess:
    channels, height, width = about.input_size
    if channels != _RGB or height != width:
        raise ConfigError(f"{name} reads {channels} channels of {height} × {width} pixels, not square RGB images.")
    fit = _FITS.get(about.crop_mode, "crop")
    return Preprocess(
        size=height,
        fit=fit,
        mean=_in_bytes(about.mean),
        std=_in_bytes(about.std),
        crop_ratio=min(about.crop_pct, 1.0) if fit == "crop" else 1.0,
        resampling=_RESAMPLING.get(about.interpolation, "bicubic"),
    )


def _in_bytes(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (255 * value for value in values)
    return red, green, blue


def _build(model: str, size: int, *, takes_size: bool, pretrained: bool = False) -> nn.Module:
    options: dict[str, Any] = {"img_size": size} if takes_size else {}
    network = timm.create_model(model, pretrained=pretrained, num_classes=0, **options)
    (patch, *_) = getattr(getattr(network, "patch_embed", None), "patch_size", None) or (1,)
    if takes_size and size % patch:
        raise ValueError(f"it reads patches of {patch} × {patch} pixels")
    return network


def _published_weights(model: str, size: int, about: Any) -> StateDict:
    """Load the published weights: from an installed package, or by timm's own download and its cache.

    Raises:
        WeightsUnavailableError: there are none, or they cannot be downloaded.
    """
    if lite := re.fullmatch(r"tf_efficientnet_lite([0-2])(\.in1k)?", model):
        try:
            return efficientnet_lite_imagenet(int(lite[1]))
        except WeightsUnavailableError:
            pass  # timm has them too
    if not about.has_weights:
        raise WeightsUnavailableError(
            f"timm has no weights of {model}. Give a file with --weights, or train it with --no-pretrained."
        )
    try:
        return _build(model, size, takes_size=about.fixed_input_size, pretrained=True).state_dict()
    except Exception as error:  # timm, its hub and HTTP libraries have no common class of errors
        source = f"https://huggingface.co/{about.hf_hub_id}" if about.hf_hub_id else about.url
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise WeightsUnavailableError(
            f"timm could not download the weights of {model} ({reason}). Download them from {source} on a machine with "
            "a network, and give the file with --weights FILE."
        ) from error


def _adapt(state: StateDict, network: nn.Module) -> StateDict:
    """Convert weights as timm does for its own download: names of the authors, and position embeddings to the size."""
    if any(name.startswith("_") and name.partition(".")[0] in {"_conv_stem", "_blocks"} for name in state):
        return adapt_lite(state, network)
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return cast("StateDict", convert(dict(state), network)) if convert else state
