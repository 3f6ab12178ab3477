"""Checkpoint metadata (`NAME.json`) and raw weights on disk. Needs no torch.

The JSON has the network's architecture, preprocessing, similarity curves, training and metrics, and the fingerprint of
everything that determines a code. Weights are safetensors, because opening a checkpoint must never run code. In a
quantised checkpoint they hold the network as OpenVINO runs it, and of the weights only those of H and F8.
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

from models.checkpoint.quantisation import Quantisation
from models.checkpoint.similarity import AnchoredCurve, Curve, LogisticCurve, Similarity
from models.errors import CheckpointError
from models.network.preprocess import Preprocess

FeatureNorm = Literal["raw", "unit"]
Weights = dict[str, NDArray[np.generic]]

FORMAT = 1
PRETRAINED = Path(__file__).parents[1] / "pretrained"


@dataclass(frozen=True)
class CheckpointInfo:
    """Metadata of a checkpoint.

    Attributes:
        name: the checkpoint's name; the stem of its files.
        backbone: a name of `models.network.registry.find_backbone`.
        bits: units in the latent layer.
        feature_dim: floats in F7.
        feature_norm: F7 in the fine search: unchanged (`raw`, the paper) or scaled to unit length (`unit`).
        classes: names of the training classes, in the order of F8; empty without labels.
        preprocess: preprocessing of images.
        pool: default number of candidates of the coarse search.
        similarity: calibration of its distances; None if not calibrated.
        training: training data and configuration.
        metrics: measurements, and the data they were measured on.
        fingerprint: 16 hexadecimal digits of SHA-256 over weights, preprocessing, bits, norm and quantisation.
        quantisation: how a quantised network was made; None for a network of 32-bit floats.
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
    quantisation: Quantisation | None = None

    @property
    def precision(self) -> str:
        """The arithmetic of the network: `f32`, `int8` or `bf16`."""
        return self.quantisation.precision if self.quantisation else "f32"


def write_info(info: CheckpointInfo, target: Path) -> None:
    """Write a checkpoint's JSON atomically, replacing an existing one."""
    temporary = target.with_suffix(".json.tmp")
    described = {**asdict(info), "preprocess": info.preprocess.to_dict()}
    if info.quantisation is None:
        del described["quantisation"]  # earlier versions read the file too
    try:
        with temporary.open("w") as file:
            json.dump({"format": FORMAT, **described}, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def find_checkpoint(checkpoint: str | Path) -> Path:
    """Return the path of a checkpoint's JSON, by path or by the name of a pretrained one."""
    given = Path(checkpoint)
    beside = [given.with_suffix(".json")] if given.suffix in {".json", ".safetensors"} else []
    for path in (*beside, Path(f"{given}.json"), PRETRAINED / f"{checkpoint}.json"):
        if path.is_file():
            return path
    names = ", ".join(list_pretrained())
    raise CheckpointError(f"There is no checkpoint {checkpoint}. Give a path or a pretrained network's name: {names}.")


def list_pretrained() -> list[str]:
    """List the names of the pretrained checkpoints in the package."""
    return sorted(path.stem for path in PRETRAINED.glob("*.json"))


def read_info(path: Path) -> CheckpointInfo:
    """Read a checkpoint's JSON.

    Raises:
        CheckpointError: it is not one, or its preprocessing is not known to this version.
    """
    try:
        raw = json.loads(path.read_text())
        if raw.pop("format") != FORMAT:
            raise CheckpointError(f"{path}: unknown format. This version reads format {FORMAT}.")
        return CheckpointInfo(
            preprocess=_parse_preprocess(raw.pop("preprocess"), path),
            classes=tuple(raw.pop("classes")),
            similarity=_parse_similarity(raw.pop("similarity", None)),
            quantisation=_parse_quantisation(raw.pop("quantisation", None), path),
            **raw,
        )
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a checkpoint's JSON: {error!r}") from error


def _parse_preprocess(raw: dict[str, Any], path: Path) -> Preprocess:
    try:
        return Preprocess.from_dict(raw)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}. A newer version may have written it: upgrade Lookalike, or use another checkpoint."
        ) from error


def _parse_quantisation(raw: dict[str, Any] | None, path: Path) -> Quantisation | None:
    try:
        return None if raw is None else Quantisation.from_dict(raw)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}. A newer version may have written it: upgrade Lookalike, or use another checkpoint."
        ) from error


def _parse_similarity(raw: dict[str, Any] | None) -> Similarity | None:
    if raw is None:
        return None
    copies = raw["copies"]
    # Earlier versions had one kind of duplicates.
    near = raw.get("near", copies)
    return Similarity(raw["pairs"], _parse_curve(raw["features"]), _parse_curve(raw["codes"]), copies, near)


def _parse_curve(raw: dict[str, Any]) -> Curve:
    if "points" in raw:
        return AnchoredCurve(tuple((distance, similarity) for distance, similarity in raw["points"]))
    return LogisticCurve(**raw)


def read_weights(path: Path, info: CheckpointInfo) -> Weights:
    """Read the weights beside a checkpoint's JSON in their stored dtype, and verify shapes and fingerprint.

    Raises:
        CheckpointError: they are missing, damaged, or belong to another checkpoint.
    """
    weights_path = path.with_suffix(".safetensors")
    try:
        weights: Weights = load_file(weights_path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{weights_path} cannot be read as safetensors: {error}. Restore the file, or use another checkpoint."
        ) from error
    expected = {"latent.weight": (info.bits, info.feature_dim)}
    if info.classes:
        expected["classifier.weight"] = (len(info.classes), info.bits)
    for name, shape in expected.items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise CheckpointError(f"{path}: {name} has the shape {shape} in the JSON and {found} in the weights.")
    if info.fingerprint != fingerprint(info, weights):
        raise CheckpointError(
            f"{path}: the fingerprint does not match the weights and preprocessing. "
            "One of the two files was changed or belongs to another checkpoint."
        )
    return weights


def fingerprint(info: CheckpointInfo, weights: Weights) -> str:
    """Compute the fingerprint of everything that determines a code or a distance: 16 hexadecimal digits."""
    use: dict[str, Any] = {"bits": info.bits, "norm": info.feature_norm, "preprocess": info.preprocess.to_dict()}
    if info.quantisation is not None:
        use["quantisation"] = asdict(info.quantisation)
    digest = hashlib.sha256(json.dumps([info.backbone, use], sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()[:16]
