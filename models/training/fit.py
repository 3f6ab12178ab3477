"""A network for images without labels: F7 as ImageNet left it, H set by ITQ on it, or at random (LSH).

Run it as `lookalike fit DIR`. It takes one pass over the images.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from models.checkpoint import files as checkpoint
from models.checkpoint.calibrate import calibrate_on_views
from models.checkpoint.info import CheckpointInfo
from models.data.dataset import read_unlabelled
from models.errors import DatasetError
from models.evaluation.encode_files import encode_files, prepare_for_inference
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.training.itq import itq, lsh

Method = Literal["itq", "lsh"]


@dataclass(frozen=True)
class Fit:
    """How to set H without labels; at most `most` images, chosen at random, are looked at."""

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
    """Write the checkpoint `out` (a path without suffix) for the images below `folder`.

    Args:
        folder: images, at any depth.
        out: the checkpoint to be.
        recipe: how.
        report: hears how many images were looked at, and of how many.
        note: hears of every file that cannot be read.

    Raises:
        DatasetError: there are no images, or too few.
        WeightsUnavailableError: the backbone's ImageNet weights are not to be had here.
    """
    files = read_unlabelled(folder, recipe.most, recipe.seed)
    preprocess = replace(BACKBONES[recipe.backbone].preprocess, size=recipe.size)
    network = LatentHashNet(recipe.backbone, recipe.bits, 0, preprocess)
    network.load_imagenet()
    encoded = encode_files(files, prepare_for_inference(network), None, report)
    for path in encoded.unreadable:
        note(f"{path} cannot be read as an image and is left out.")
    if len(encoded.paths) == 1:
        raise DatasetError(f"{folder} holds only one image that can be read.")
    set_latent(network.cpu(), encoded.features, recipe)
    told = {"fit": vars(recipe), "pictures": len(encoded.paths)}
    described = checkpoint.describe(network, out.name, ())
    similarity = calibrate_on_views(network, files)
    return checkpoint.save(network, replace(described, similarity=similarity, training=told), out.parent)


def set_latent(network: LatentHashNet, features: np.typing.NDArray[np.float32], recipe: Fit) -> None:
    """Set H by these features `(n, d)`; the fine step compares F7 at length one, which suits ImageNet's better."""
    method = itq if recipe.method == "itq" else lsh
    weights, biases = method(features, recipe.bits, recipe.seed)
    with torch.no_grad():
        network.latent.weight.copy_(torch.from_numpy(weights))
        network.latent.bias.copy_(torch.from_numpy(biases))
    network.feature_norm = "unit"
