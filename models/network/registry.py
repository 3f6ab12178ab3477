"""Backbones by name: our own (`efficientnet_lite0`), timm's (`timm:NAME`) and torchvision's (`torchvision:NAME`)."""

from dataclasses import replace

from models.errors import ConfigError
from models.network.backbones import BACKBONES, Backbone
from models.network.cuts import DEFAULT_CUT, Cut, with_cut, with_decode_scale
from models.network.preprocess import Colour, Preprocess

LIBRARIES = ("timm", "torchvision")


def find_backbone(name: str, size: int | None = None) -> Backbone:
    """Return a backbone by its name in checkpoints and on the command line.

    Args:
        name: `timm:NAME`, `torchvision:NAME`, or a key of `BACKBONES`.
        size: input side in pixels, for models of libraries, some of which are built for one size. Default: their own.

    Raises:
        ConfigError: there is no such backbone, it has no pooled features, or it cannot take this size.
    """
    library, _, model = name.partition(":")
    # Importing timm takes seconds.
    if library == "timm":
        from models.network.libraries.timm_models import timm_backbone

        return timm_backbone(model, size)
    if library == "torchvision":
        from models.network.libraries.torchvision_models import torchvision_backbone

        return torchvision_backbone(model, size)
    if name not in BACKBONES:
        own = ", ".join(BACKBONES)
        raise ConfigError(f"Unknown backbone {name}. Choose one of {own}, or timm:NAME or torchvision:NAME.")
    return BACKBONES[name]


def is_from_library(name: str) -> bool:
    """Whether a backbone is a library's, whose published preprocessing is used."""
    return name.startswith(tuple(f"{library}:" for library in LIBRARIES))


def new_preprocess(backbone: str, size: int, cut: Cut | None, colour: Colour = "srgb") -> Preprocess:
    """Return the preprocessing of a new network: the backbone's normalisation, at a size and with a cut.

    Without a cut, a library's backbone has the cut that its library publishes, and another one the default.

    Raises:
        ConfigError: there is no such backbone.
    """
    preprocess = replace(find_backbone(backbone).preprocess, size=size, colour=colour)
    if cut is None and is_from_library(backbone):
        return with_decode_scale(preprocess)
    return with_cut(preprocess, cut or DEFAULT_CUT)
