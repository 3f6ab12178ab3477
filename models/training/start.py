"""What a new network starts from: a checkpoint, published weights, a file of weights, or random numbers."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from models.checkpoint.files import load
from models.errors import CheckpointError, ConfigError
from models.network.latent_hash_net import LatentHashNet
from models.network.registry import find_backbone, new_preprocess
from models.training.config import TrainingConfig


def require_one_start(weights: str | None, start: str | None, *, published: bool) -> None:
    """Check that at most one start is configured.

    Raises:
        ConfigError: a file of weights and another start are.
    """
    if weights is not None and (start is not None or not published):
        other = "--init-from" if start is not None else "--no-pretrained"
        raise ConfigError(f"--weights and {other} exclude each other: a network starts from one of them.")


def initial_network(recipe: TrainingConfig, classes: tuple[str, ...]) -> LatentHashNet:
    """Create a network, initialised from a checkpoint, a file of weights, published weights or at random.

    Raises:
        CheckpointError: the checkpoint to initialise from cannot be used.
        WeightsError: the file of weights cannot be used.
    """
    torch.manual_seed(recipe.seed)
    network = LatentHashNet(
        recipe.backbone,
        recipe.bits,
        len(classes),
        new_preprocess(recipe.backbone, recipe.size, recipe.image_cut, recipe.colour),
    )
    if recipe.start is not None:
        _init_from_checkpoint(network, classes, recipe.start)
    else:
        load_start(network, recipe.weights, published=recipe.imagenet)
    return network


def load_start(network: LatentHashNet, weights: str | None, *, published: bool) -> None:
    """Initialise the backbone from the file `weights`, from published weights, or leave it random.

    Raises:
        WeightsUnavailableError: the published weights are neither installed nor downloadable.
        WeightsError: the file cannot be used.
    """
    if weights is not None:
        network.load_weights_file(Path(weights))
    elif published:
        network.load_imagenet()


def describe_start(network: LatentHashNet, weights: str | None) -> dict[str, Any]:
    """Return library, weights and licence of the backbone, for the checkpoint's description."""
    about = dict(find_backbone(network.backbone_name, network.preprocess.size).provenance)
    if weights is not None:
        path = Path(weights)
        with path.open("rb") as file:
            about |= {"weights": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return {"backbone": about} if about else {}


def _init_from_checkpoint(network: LatentHashNet, classes: tuple[str, ...], start: str) -> None:
    """Copy a checkpoint's backbone, H if it has the same number of bits, and F8 if the classes match too."""
    other, info = load(start)
    if info.quantisation is not None:
        raise CheckpointError(
            f"{info.name} is quantised ({info.precision}) and has no weights to train. Start from "
            f"{info.quantisation.source}, which it was made from."
        )
    if other.backbone_name != network.backbone_name:
        raise CheckpointError(
            f"{info.name} has the backbone {other.backbone_name}. Use --backbone {info.backbone} to start from it."
        )
    network.load_backbone(other.backbone.state_dict(), info.name)
    if info.bits == network.bits:
        network.latent.load_state_dict(other.latent.state_dict())
        if info.classes == classes:
            network.classifier.load_state_dict(other.classifier.state_dict())
