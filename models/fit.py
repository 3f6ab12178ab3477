"""A network for pictures without labels: F7 as ImageNet left it, H set by ITQ on it, or at random (LSH).

Run it as `lookalike fit DIR`. It takes one pass over the pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from models import checkpoint
from models.backbones import BACKBONES
from models.checkpoint import CheckpointInfo
from models.dataset import load_pictures, read_unlabelled
from models.encode import encode
from models.errors import DatasetError
from models.itq import itq, lsh
from models.network import LatentHashNet

Method = Literal["itq", "lsh"]
AT_A_TIME = 256


@dataclass(frozen=True)
class Fit:
    """How to set H without labels; at most `most` pictures, chosen at random, are looked at."""

    backbone: str = "efficientnet_lite0"
    bits: int = 128
    size: int = 160
    method: Method = "itq"
    most: int = 5000
    seed: int = 0


def fit(folder: Path, out: Path, recipe: Fit, report: Callable[[int, int], None]) -> CheckpointInfo:
    """Writes the checkpoint `out` (a path without suffix) for the pictures below `folder`.

    Raises:
        DatasetError: there are no pictures, or too few.
        WeightsUnavailableError: the backbone's ImageNet weights are not to be had here.
    """
    files = read_unlabelled(folder, recipe.most, recipe.seed)
    preprocess = replace(BACKBONES[recipe.backbone].preprocess, size=recipe.size)
    network = LatentHashNet(recipe.backbone, recipe.bits, 0, preprocess)
    network.load_imagenet()
    features: list[np.typing.NDArray[np.float32]] = []
    for first in range(0, len(files), AT_A_TIME):
        some = files.subset(np.arange(first, min(first + AT_A_TIME, len(files))))
        features.append(encode(network, load_pictures(some, preprocess).pictures)[1])
        report(first + len(some), len(files))
    found = np.concatenate(features)
    if len(found) == 1:
        raise DatasetError(f"{folder} holds only one picture that can be read.")
    set_latent(network, found, recipe)
    told = {"fit": vars(recipe), "pictures": len(found)}
    return checkpoint.save(network, replace(checkpoint.describe(network, out.name, ()), training=told), out.parent)


def set_latent(network: LatentHashNet, features: np.typing.NDArray[np.float32], recipe: Fit) -> None:
    """Sets H by these features `(n, d)`; the fine step compares F7 at length one, which suits ImageNet's better."""
    method = itq if recipe.method == "itq" else lsh
    weights, biases = method(features, recipe.bits, recipe.seed)
    with torch.no_grad():
        network.latent.weight.copy_(torch.from_numpy(weights))
        network.latent.bias.copy_(torch.from_numpy(biases))
    network.feature_norm = "unit"
