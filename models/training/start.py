"""What the backbone of a new network starts from: published weights, a file of weights, or random numbers."""

import hashlib
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from models.network.latent_hash_net import LatentHashNet
from models.network.registry import find_backbone


def require_one_start(weights: str | None, start: str | None, *, published: bool) -> None:
    """Check that at most one start is configured.

    Raises:
        ConfigError: a file of weights and another start are.
    """
    if weights is not None and (start is not None or not published):
        other = "--init-from" if start is not None else "--no-pretrained"
        raise ConfigError(f"--weights and {other} exclude each other: a network starts from one of them.")


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
