"""Probe a library's model for what a backbone needs: pooled features, their width, and the input sizes that it takes.

Models are built and run without memory on torch's meta device, which takes a fraction of a second for any size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from models.errors import ConfigError
from models.network.backbones import Backbone, StateDict
from models.network.cuts import with_decode_scale
from models.network.preprocess import Preprocess

# Builds a model without class layer for an input side in pixels.
Build = Callable[[int], nn.Module]

# F7 of this width or less trains well at this rate; see `Backbone.default_lr`.
_RATE, _RATE_WIDTH = 0.1, 1280
# Sides of the patches of vision transformers, and the stride of most other networks.
_STEPS = (14, 16, 32)
# Sizes of training crops differ from the model's by any number of pixels.
_ODD = 37


@dataclass(frozen=True)
class Probed:
    """What a model computes at a size.

    Attributes:
        feature_dim: floats in F7.
        fixed_size: whether it takes images of this size only.
    """

    feature_dim: int
    fixed_size: bool


def library_backbone(
    name: str,
    published: Preprocess,
    size: int,
    *,
    build: Build,
    imagenet: Callable[[], StateDict],
    heads: tuple[str, ...],
    adapt: Callable[[StateDict, nn.Module], StateDict],
    provenance: dict[str, str],
) -> Backbone:
    """Describe a library's model as a backbone for an input side in pixels; see `Backbone` for the other arguments.

    Args:
        name: the backbone's name.
        published: the preprocessing that the library publishes.
        size: input side in pixels.
        build: builds the model without class layer.
        imagenet: loads the published weights.
        heads: names of class layers.
        adapt: converts weights of other names or another size.
        provenance: library, weights and licence.

    Raises:
        ConfigError: the model has no pooled features, or does not take this size.
    """
    probed = probe(name, build, size, published.size)
    return Backbone(
        name=name,
        feature_dim=probed.feature_dim,
        min_image_size=1,
        preprocess=with_decode_scale(replace(published, size=size)),
        default_lr=_RATE * min(1.0, _RATE_WIDTH / probed.feature_dim),
        build=partial(build, size),
        imagenet=imagenet,
        heads=heads,
        adapt=adapt,
        fixed_size=probed.fixed_size,
        provenance=provenance,
    )


def probe(name: str, build: Build, size: int, own_size: int) -> Probed:
    """Run a model on one image of a size.

    Args:
        name: the backbone's name, for messages.
        build: builds the model for a size.
        size: input side in pixels.
        own_size: the size that the model is published with.

    Raises:
        ConfigError: the model has no pooled features, or does not take this size.
    """
    try:
        shape = _output_shape(build, size, own_size)
    except Exception as error:  # models raise errors of any kind for sizes that they do not take
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        if size == own_size:
            raise ConfigError(f"{name} cannot be used as a backbone: {reason}.") from error
        sizes = " or ".join(map(str, _near_sizes(build, size, own_size)))
        raise ConfigError(f"Image size {size}: {name} cannot take it ({reason}). Use --image-size {sizes}.") from error
    if shape is None or len(shape[1:]) != 1 or shape[1] < 1:
        raise ConfigError(
            f"{name} has no pooled features, so there is no F7: without its class layer it returns "
            f"{'several tensors' if shape is None else f'the shape {tuple(shape)}'}. Choose a model that classifies "
            "images."
        )
    return Probed(shape[1], not _takes(build, size, size + _ODD))


def _output_shape(build: Build, size: int, own_size: int) -> torch.Size | None:
    """Return the shape of a model's output for one image; None if it is not a tensor."""
    try:
        return _run(build, size, size, torch.device("meta"))
    except Exception:  # not every model runs without memory (`meta`), and how it fails is up to the library
        if size != own_size and _takes(build, own_size, own_size):
            raise
        return _run(build, size, size, torch.device("cpu"))


def _takes(build: Build, size: int, image: int) -> bool:
    """Whether a model built for one size takes images of another one."""
    try:
        return _run(build, size, image, torch.device("meta")) is not None
    except Exception:  # libraries raise errors of any class for sizes that a model does not take
        return False


@torch.inference_mode()
def _run(build: Build, size: int, image: int, device: torch.device) -> torch.Size | None:
    # The random numbers of the caller's own initialisation stay the same.
    with torch.random.fork_rng(devices=[]), device:
        output = build(size).eval()(torch.zeros(1, 3, image, image))
    return output.shape if isinstance(output, Tensor) else None


def _near_sizes(build: Build, size: int, own_size: int) -> list[int]:
    """Return one or two sizes that a model takes, the nearest first."""
    multiples = {max(size // step + more, 1) * step for step in _STEPS for more in (0, 1)}
    ordered = sorted(multiples - {own_size}, key=lambda other: abs(other - size))
    return [*[other for other in ordered if _takes(build, other, other)][:1], own_size]
