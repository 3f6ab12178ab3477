"""A checkpoint: a network's weights and everything needed to use them.

`NAME.safetensors` holds the weights, `NAME.json` says how to rebuild the network, prepare its pictures and
compare its vectors, what it was trained on and how well it did, and carries the fingerprint of all that decides
a code. Safetensors, because opening a checkpoint must never run code.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.backbones import BACKBONES
from models.errors import CheckpointError
from models.network import FeatureNorm, LatentHashNet
from models.preprocess import Preprocess

FORMAT = 1
PRETRAINED = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself.

    Attributes:
        name: what people call it; the stem of its files.
        backbone: a name of `models.backbones.BACKBONES`.
        bits: units in the latent layer.
        feature_dim: floats in F7.
        feature_norm: whether the fine step compares F7 as it is (`raw`, the paper) or at length one (`unit`).
        classes: the names of the classes it was trained on, in the order of F8; empty if it has none.
        preprocess: how pictures are prepared.
        pool: candidates that the coarse step keeps unless a search says otherwise.
        training: the data and the recipe.
        metrics: what was measured, and on what.
        fingerprint: 16 hexadecimal digits of SHA-256 over weights, preprocessing, bits and norm.
    """

    name: str
    backbone: str
    bits: int
    feature_dim: int
    feature_norm: FeatureNorm
    classes: tuple[str, ...]
    preprocess: Preprocess
    pool: int = 1000
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


def describe(network: LatentHashNet, name: str, classes: tuple[str, ...]) -> CheckpointInfo:
    """Reads off a network what its checkpoint has to say; training, metrics and fingerprint come later."""
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
    """Writes the checkpoint `info.name` into `folder`, weights as float16; returns `info` with its fingerprint.

    The JSON comes last, by an atomic rename: a checkpoint without one is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: _compact(value) for name, value in network.state_dict().items()}
    info = replace(info, fingerprint=fingerprint(info, weights))
    target, temporary = folder / f"{info.name}.safetensors", folder / f"{info.name}.safetensors.tmp"
    save_file(weights, temporary)
    # safetensors makes files that only their owner can read; others may run what we installed.
    temporary.chmod(0o644)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(target)
    write_info(info, folder)
    return info


def write_info(info: CheckpointInfo, folder: Path) -> None:
    """Writes a checkpoint's JSON, replacing the one that is there."""
    target = folder / f"{info.name}.json"
    temporary = target.with_suffix(".json.tmp")
    with temporary.open("w") as file:
        json.dump({"format": FORMAT, **asdict(info)}, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def load(checkpoint: str | Path) -> tuple[LatentHashNet, CheckpointInfo]:
    """Rebuilds a network from a checkpoint.

    Args:
        checkpoint: the name of one that ships, or the path of its JSON or safetensors file.

    Returns:
        The network in evaluation mode with float32 weights, and what its checkpoint says.

    Raises:
        CheckpointError: it is missing, damaged, or its parts disagree.
    """
    path = find(checkpoint)
    info, weights = read_info(path), _read_weights(path.with_suffix(".safetensors"))
    _agree(info, weights, path)
    network = LatentHashNet(info.backbone, info.bits, len(info.classes), info.preprocess, info.feature_norm)
    try:
        network.load_state_dict({name: value.to(_dtype_in_use(value)) for name, value in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit a {info.backbone}: {error}") from error
    return network.eval(), info


def find(checkpoint: str | Path) -> Path:
    """Returns the path of a checkpoint's JSON."""
    given = Path(checkpoint)
    beside = [given.with_suffix(".json")] if given.suffix in {".json", ".safetensors"} else []
    for path in (*beside, Path(f"{given}.json"), PRETRAINED / f"{checkpoint}.json"):
        if path.is_file():
            return path
    names = ", ".join(pretrained_names())
    raise CheckpointError(f"There is no checkpoint {checkpoint}. Give a path, or one that ships: {names}.")


def pretrained_names() -> list[str]:
    """Names the checkpoints that ship."""
    return sorted(path.stem for path in PRETRAINED.glob("*.json"))


def read_info(path: Path) -> CheckpointInfo:
    """Reads a checkpoint's JSON."""
    try:
        raw = json.loads(path.read_text())
        if raw.pop("format") != FORMAT:
            raise CheckpointError(f"{path} was written in another format than {FORMAT}, which this version reads.")
        preprocess = raw.pop("preprocess")
        mean, std = tuple(preprocess.pop("mean")), tuple(preprocess.pop("std"))
        classes = tuple(raw.pop("classes"))
        return CheckpointInfo(preprocess=Preprocess(mean=mean, std=std, **preprocess), classes=classes, **raw)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a checkpoint's description: {error!r}") from error


def fingerprint(info: CheckpointInfo, weights: dict[str, Tensor]) -> str:
    """Identifies everything that decides a code or a distance: 16 hexadecimal digits."""
    use = {"bits": info.bits, "norm": info.feature_norm, "preprocess": asdict(info.preprocess)}
    digest = hashlib.sha256(json.dumps([info.backbone, use], sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _agree(info: CheckpointInfo, weights: dict[str, Tensor], path: Path) -> None:
    if info.backbone not in list(BACKBONES):
        raise CheckpointError(f"{path}: there is no backbone {info.backbone}; known: {', '.join(BACKBONES)}.")
    expected = {"latent.weight": (info.bits, info.feature_dim)}
    if info.classes:
        expected["classifier.weight"] = (len(info.classes), info.bits)
    for name, shape in expected.items():
        found = tuple(weights[name].shape) if name in weights else None
        if found != shape:
            raise CheckpointError(f"{path}: {name} should be {shape} by the JSON, and is {found} in the weights.")
    if info.fingerprint != fingerprint(info, weights):
        raise CheckpointError(
            f"{path}: the fingerprint does not fit the weights and preprocessing beside it. "
            "One of the two files was changed or comes from another checkpoint."
        )


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def _compact(value: Tensor) -> Tensor:
    value = value.detach().to("cpu").contiguous()
    return value.to(torch.float16) if value.is_floating_point() else value


def _dtype_in_use(value: Tensor) -> torch.dtype:
    return torch.float32 if value.is_floating_point() else value.dtype
