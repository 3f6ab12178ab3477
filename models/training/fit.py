"""A network for pictures without labels: F7 as ImageNet left it, H set by ITQ on it, or at random (LSH).

Run it as `lookalike fit DIR`. It takes one pass over the pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from models.checkpoint import files as checkpoint
from models.checkpoint.calibrate import on_views
from models.checkpoint.info import CheckpointInfo
from models.data.dataset import read_unlabelled
from models.errors import DatasetError
from models.evaluation.encode_files import encode_files, ready
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.training.itq import itq, lsh

Method = Literal["itq", "lsh"]


@dataclass(frozen=True)
class Fit:
    """How to set H without labels; at most `most` pictures, chosen at random, are looked at."""

    backbone: str = "efficientnet_lite0"
    bits: int = 128
    size: int = 224
    method: Method = "itq"
    most: int = 5000
    seed: int = 0


def fit(
    folder: Path,
    out: Path,
    recipe: Fit,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    note: Callable[[str], None] = lambda _note: None,
) -> CheckpointInfo:
    """Writes the checkpoint `out` (a path without suffix) for the pictures below `folder`.

    Args:
        folder: pictures, at any depth.
        out: the checkpoint to be.
        recipe: how.
        report: hears how many pictures were looked at, and of how many.
        note: hears of every file that cannot be read.

    Raises:
        DatasetError: there are no pictures, or too few.
        WeightsUnavailableError: the backbone's ImageNet weights are not to be had here.
    """
    files = read_unlabelled(folder, recipe.most, recipe.seed)
    preprocess = replace(BACKBONES[recipe.backbone].preprocess, size=recipe.size)
    network = LatentHashNet(recipe.backbone, recipe.bits, 0, preprocess)
    network.load_imagenet()
    encoded = encode_files(files, ready(network), None, report)
    for path in encoded.unreadable:
        note(f"{path} cannot be read as a picture and is left out.")
    if len(encoded.paths) == 1:
        raise DatasetError(f"{folder} holds only one picture that can be read.")
    set_latent(network.cpu(), encoded.features, recipe)
    told = {"fit": vars(recipe), "pictures": len(encoded.paths)}
    described = checkpoint.describe(network, out.name, ())
    similarity = on_views(network, files)
    return checkpoint.save(network, replace(described, similarity=similarity, training=told), out.parent)


def set_latent(network: LatentHashNet, features: np.typing.NDArray[np.float32], recipe: Fit) -> None:
    """Sets H by these features `(n, d)`; the fine step compares F7 at length one, which suits ImageNet's better."""
    method = itq if recipe.method == "itq" else lsh
    weights, biases = method(features, recipe.bits, recipe.seed)
    with torch.no_grad():
        network.latent.weight.copy_(torch.from_numpy(weights))
        network.latent.bias.copy_(torch.from_numpy(biases))
    network.feature_norm = "unit"
