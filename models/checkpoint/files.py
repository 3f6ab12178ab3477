"""Save and load checkpoints: weights, and the JSON that describes them (`models/checkpoint/info.py`)."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from models.checkpoint.info import CheckpointInfo, find_checkpoint, fingerprint, read_info, read_weights, write_info
from models.errors import CheckpointError, ConfigError
from models.network.latent_hash_net import LatentHashNet
from models.network.quantised import open_quantised
from models.network.quantised_net import QuantisedNet

# Prefixes of the weights of H and F8.
HEAD = ("latent.", "classifier.")


def describe(network: LatentHashNet, name: str, classes: tuple[str, ...]) -> CheckpointInfo:
    """Build a checkpoint's info from a network, without training, metrics and fingerprint."""
    return CheckpointInfo(
        name=name,
        backbone=network.backbone_name,
        bits=network.bits,
        feature_dim=network.feature_dim,
        feature_norm=network.feature_norm,
        classes=classes,
        preprocess=network.preprocess,
    )


def save(network: LatentHashNet, info: CheckpointInfo, folder: Path) -> CheckpointInfo:
    """Write the checkpoint `info.name` into `folder`, weights as float16; return `info` with its fingerprint.

    The JSON is written last, by an atomic rename; weights without JSON are not a checkpoint.
    """
    return save_weights({name: compact(value) for name, value in network.state_dict().items()}, info, folder)


def save_weights(weights: Mapping[str, Tensor], info: CheckpointInfo, folder: Path) -> CheckpointInfo:
    """Write a checkpoint as `save` does, with its weights as they are stored."""
    folder.mkdir(parents=True, exist_ok=True)
    info = replace(info, fingerprint=fingerprint(info, {name: value.numpy() for name, value in weights.items()}))
    target, temporary = folder / f"{info.name}.safetensors", folder / f"{info.name}.safetensors.tmp"
    try:
        save_file(dict(weights), temporary)
        # safetensors creates files with mode 0600; other users may run the service.
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        write_info(info, folder / f"{info.name}.json")
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"The checkpoint {target} could not be written: {error}. Free space, and repeat."
        ) from error
    return info


def load(checkpoint: str | Path) -> tuple[LatentHashNet, CheckpointInfo]:
    """Load a network from a checkpoint.

    Args:
        checkpoint: the name of a pretrained one, or the path of its JSON or safetensors file.

    Returns:
        The network in evaluation mode with float32 weights, and the checkpoint's info. A quantised one is a
        `QuantisedNet`, which OpenVINO runs.

    Raises:
        CheckpointError: it is missing, damaged or inconsistent; or it is quantised and does not run on this machine.
    """
    path = find_checkpoint(checkpoint)
    info = read_info(path)
    weights = {name: torch.from_numpy(value) for name, value in read_weights(path, info).items()}
    if info.quantisation is None:
        network: LatentHashNet = _network_of(path, info)
    else:
        network = QuantisedNet(info, open_quantised(path, info, info.quantisation))
        weights = {name: value for name, value in weights.items() if name.startswith(HEAD)}
    try:
        network.load_state_dict({name: value.to(_runtime_dtype(value)) for name, value in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not match the backbone {info.backbone}: {error}") from error
    return network.eval(), info


def _network_of(path: Path, info: CheckpointInfo) -> LatentHashNet:
    try:
        return LatentHashNet(info.backbone, info.bits, len(info.classes), info.preprocess, info.feature_norm)
    except ConfigError as error:
        library = info.training.get("backbone", {}).get("library")
        made_with = f" The checkpoint was made with {library}; install that version." if library else ""
        raise CheckpointError(f"{path} cannot be opened: {error}{made_with}") from error


def compact(value: Tensor) -> Tensor:
    """Return a weight as checkpoints store it, on the CPU: a float as float16, unless its range is larger."""
    value = value.detach().to("cpu").contiguous()
    if not value.is_floating_point():
        return value.clone()
    half = value.to(torch.float16)
    return half if torch.isfinite(half).all() else value


def _runtime_dtype(value: Tensor) -> torch.dtype:
    return torch.float32 if value.is_floating_point() else value.dtype
