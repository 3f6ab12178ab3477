"""Fit a network without labels: F7 with ImageNet weights, H by ITQ or random hyperplanes (LSH).

Run it as `lookalike fit DIR`. It takes one pass over the images.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from models.checkpoint import files as checkpoint
from models.checkpoint.calibrate import calibrate_on_files
from models.checkpoint.info import CheckpointInfo
from models.data.dataset import LabelledFiles, read_splits, read_unlabelled
from models.data.folders import TRAIN
from models.errors import DatasetError
from models.evaluation.encode_files import encode_files, prepare_for_inference
from models.network.cuts import Cut
from models.network.latent_hash_net import LatentHashNet
from models.network.registry import find_backbone, is_from_library, new_preprocess
from models.training.choose_cut import choose_cut
from models.training.itq import itq, lsh, require_enough
from models.training.requirements import FIT_BYTES_PER_WEIGHT, require_space
from models.training.start import describe_start, load_start, require_one_start

Method = Literal["itq", "lsh"]


@dataclass(frozen=True)
class FitConfig:
    """Configuration of fitting H without labels, on at most `most` randomly chosen images.

    Without `size`, the backbone's is used. Without `image_cut`, a library's backbone has its own; for others the best
    cut by the names of the images' folders is chosen, or else the default. F7 comes from the file `weights`, from
    published weights if `imagenet`, or else from random ones.
    """

    backbone: str = "efficientnet_lite0"
    bits: int = 128
    size: int | None = None
    method: Method = "itq"
    most: int = 5000
    seed: int = 0
    image_cut: Cut | None = None
    imagenet: bool = True
    weights: str | None = None


def fit(
    folder: Path,
    out: Path,
    recipe: FitConfig,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    note: Callable[[str], None] = lambda _note: None,
) -> CheckpointInfo:
    """Fit a network to the images below `folder` and write the checkpoint `out` (a path without suffix).

    Args:
        folder: images, at any depth.
        out: path of the new checkpoint.
        recipe: configuration.
        report: called with the number of images done, and of all.
        note: called with a message for every unreadable file, and for what is left out.

    Raises:
        DatasetError: there are no images, too few, or no space for the checkpoint.
        ConfigError: the backbone is unknown, or does not take the size.
        WeightsUnavailableError: the backbone's weights are neither installed nor downloadable.
        WeightsError: the file of weights cannot be used.
    """
    require_one_start(recipe.weights, None, published=recipe.imagenet)
    files = read_unlabelled(folder, recipe.most, recipe.seed)
    network = new_network(recipe)
    if recipe.method == "itq":
        require_enough(len(files), network.feature_dim, recipe.bits)
    require_space(out, FIT_BYTES_PER_WEIGHT * sum(weight.numel() for weight in network.parameters()))
    own_cut = recipe.image_cut is not None or is_from_library(recipe.backbone)
    if not own_cut and (labelled := labelled_files(folder)) is not None:
        recipe = replace(recipe, image_cut=choose_cut(labelled, network, note))
        network = new_network(recipe)
    encoded = encode_files(files, prepare_for_inference(network), None, report)
    for line in files.notes:
        note(line)
    for path in encoded.unreadable:
        note(f"{path} is not a readable image and is skipped.")
    if len(encoded.paths) == 1:
        raise DatasetError(f"{folder} contains only one readable image. Fitting needs two or more.")
    set_latent(network.cpu(), encoded.features, recipe)
    recipe = replace(recipe, size=network.preprocess.size)
    about = {"fit": vars(recipe), "pictures": len(encoded.paths), **describe_start(network, recipe.weights)}
    described = checkpoint.describe(network, out.name, ())
    similarity = calibrate_on_files(network, files, labelled=False)
    return checkpoint.save(network, replace(described, similarity=similarity, training=about), out.parent)


def new_network(recipe: FitConfig) -> LatentHashNet:
    """Create a network with the configured weights and a random H.

    Raises:
        ConfigError: the backbone is unknown, or does not take the size.
        WeightsUnavailableError: the weights are neither installed nor downloadable.
        WeightsError: the file of weights cannot be used.
    """
    size = recipe.size or find_backbone(recipe.backbone).preprocess.size
    torch.manual_seed(recipe.seed)
    network = LatentHashNet(recipe.backbone, recipe.bits, 0, new_preprocess(recipe.backbone, size, recipe.image_cut))
    load_start(network, recipe.weights, published=recipe.imagenet)
    return network


def labelled_files(folder: Path) -> LabelledFiles | None:
    """List the images of a folder that has a folder for each class; None if it has not. H does not use the labels."""
    try:
        files = read_splits(folder)[TRAIN]
    except DatasetError:
        return None
    return files if len(files.classes) > 1 else None


def set_latent(network: LatentHashNet, features: np.typing.NDArray[np.float32], recipe: FitConfig) -> None:
    """Set H from features `(n, d)`, and the norm of F7 to unit length, which suits ImageNet features better."""
    method = itq if recipe.method == "itq" else lsh
    weights, biases = method(features, recipe.bits, recipe.seed)
    with torch.no_grad():
        network.latent.weight.copy_(torch.from_numpy(weights))
        network.latent.bias.copy_(torch.from_numpy(biases))
    network.feature_norm = "unit"
