"""What a checkpoint says of itself: `NAME.json`, and the weights beside it as they lie on disk. Needs no torch.

The JSON says how to rebuild the network, prepare its images and compare its vectors, what it was trained on and
how well it did, and carries the fingerprint of all that decides a code. Weights are safetensors, because opening a
checkpoint must never run code.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from models.checkpoint.similarity import Curve, Similarity
from models.errors import CheckpointError
from models.network.preprocess import Preprocess

FeatureNorm = Literal["raw", "unit"]
Weights = dict[str, NDArray[np.generic]]

FORMAT = 1
PRETRAINED = Path(__file__).parents[1] / "pretrained"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself.

    Attributes:
        name: what people call it; the stem of its files.
        backbone: a name of `models.network.backbones.BACKBONES`.
        bits: units in the latent layer.
        feature_dim: floats in F7.
        feature_norm: whether the fine step compares F7 as it is (`raw`, the paper) or at length one (`unit`).
        classes: the names of the classes it was trained on, in the order of F8; empty if it has none.
        preprocess: how images are prepared.
        pool: candidates that the coarse step keeps unless a search says otherwise.
        similarity: what its distances mean; None where that was never calibrated.
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
    similarity: Similarity | None = None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


def write_info(info: CheckpointInfo, target: Path) -> None:
    """Write a checkpoint's JSON, replacing the one that is there."""
    temporary = target.with_suffix(".json.tmp")
    with temporary.open("w") as file:
        json.dump({"format": FORMAT, **asdict(info)}, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def find(checkpoint: str | Path) -> Path:
    """Return the path of a checkpoint's JSON."""
    given = Path(checkpoint)
    beside = [given.with_suffix(".json")] if given.suffix in {".json", ".safetensors"} else []
    for path in (*beside, Path(f"{given}.json"), PRETRAINED / f"{checkpoint}.json"):
        if path.is_file():
            return path
    names = ", ".join(pretrained_names())
    raise CheckpointError(f"There is no checkpoint {checkpoint}. Give a path, or one that ships: {names}.")


def pretrained_names() -> list[str]:
    """Name the checkpoints that ship."""
    return sorted(path.stem for path in PRETRAINED.glob("*.json"))


def read_info(path: Path) -> CheckpointInfo:
    """Read a checkpoint's JSON."""
    try:
        raw = json.loads(path.read_text())
        if raw.pop("format") != FORMAT:
            raise CheckpointError(f"{path} was written in another format than {FORMAT}, which this version reads.")
        preprocess = raw.pop("preprocess")
        mean, std = tuple(preprocess.pop("mean")), tuple(preprocess.pop("std"))
        return CheckpointInfo(
            preprocess=Preprocess(mean=mean, std=std, **preprocess),
            classes=tuple(raw.pop("classes")),
            similarity=_similarity(raw.pop("similarity", None)),
            **raw,
        )
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a checkpoint's description: {error!r}") from error


def _similarity(raw: dict[str, Any] | None) -> Similarity | None:
    if raw is None:
        return None
    return Similarity(raw["pairs"], Curve(**raw["features"]), Curve(**raw["codes"]), raw["copies"], raw["error"])


def read_weights(path: Path, info: CheckpointInfo) -> Weights:
    """Read the weights beside a JSON, as they lie there, and finds out whether they are the ones it speaks of.

    Raises:
        CheckpointError: they are missing, damaged, or others.
    """
    weights_path = path.with_suffix(".safetensors")
    try:
        weights: Weights = load_file(weights_path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights_path} cannot be read as safetensors: {error}") from error
    expected = {"latent.weight": (info.bits, info.feature_dim)}
    if info.classes:
        expected["classifier.weight"] = (len(info.classes), info.bits)
    for name, shape in expected.items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise CheckpointError(f"{path}: {name} should be {shape} by the JSON, and is {found} in the weights.")
    if info.fingerprint != fingerprint(info, weights):
        raise CheckpointError(
            f"{path}: the fingerprint does not fit the weights and preprocessing beside it. "
            "One of the two files was changed or comes from another checkpoint."
        )
    return weights


def fingerprint(info: CheckpointInfo, weights: Weights) -> str:
    """Identifie everything that decides a code or a distance: 16 hexadecimal digits."""
    use = {"bits": info.bits, "norm": info.feature_norm, "preprocess": asdict(info.preprocess)}
    digest = hashlib.sha256(json.dumps([info.backbone, use], sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()[:16]
