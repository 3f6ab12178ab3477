"""Describe a trained network as a checkpoint: norm of F7, pool, similarity, and what it measures on held-out images."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import files as checkpoint
from models.checkpoint.calibrate import calibrate_on_images
from models.checkpoint.info import CheckpointInfo
from models.data.training_data import TrainingData
from models.evaluation.metrics import accuracy
from models.network.codes import Codes, Floats, unit_length
from models.network.encode import Encode, encoder
from models.network.latent_hash_net import LatentHashNet
from models.training.config import TrainingConfig
from models.training.measure import apply_head, best_ranking
from models.training.start import describe_start

# Images to compare norms of F7 and pools on, without encoding a large set again.
EVALUATION_DATABASE_SIZE = 5000
_BATCH = 64


def describe_trained(
    network: LatentHashNet, name: str, data: TrainingData, recipe: TrainingConfig, scores: Mapping[str, Any]
) -> CheckpointInfo:
    """Build the checkpoint's info of a network, after encoding a sample of training images.

    Args:
        network: with its final weights.
        name: of the checkpoint.
        data: what it was trained on.
        recipe: how.
        scores: what the training measured, for `metrics` of the info, and `history`.
    """
    database = data.training.sample(EVALUATION_DATABASE_SIZE, recipe.seed).resized(recipe.size)
    network.feature_norm = "raw"
    run = encoder(network, 2 * len(data.held_out.labels) + len(database.labels))
    features = [encode_in_batches(run, loaded.images) for loaded in (data.held_out, database)]
    return describe_encoded(network, name, data, recipe, scores, run, features, database.labels)


def describe_encoded(
    network: LatentHashNet,
    name: str,
    data: TrainingData,
    recipe: TrainingConfig,
    scores: Mapping[str, Any],
    run: Encode,
    features: list[Floats],
    labels: NDArray[np.int64],
) -> CheckpointInfo:
    """Build the checkpoint's info of a network whose F7 is known.

    Args:
        network: with its final weights.
        name: of the checkpoint.
        data: what it was trained on.
        recipe: how.
        scores: what the training measured.
        run: encodes images; only its F7 is used.
        features: raw F7 of held-out images and of training images.
        labels: of these training images.
    """
    logits, queries = apply_head(network, features[0], data.held_out.labels)
    _, database = apply_head(network, features[1], labels)
    (norm, pool), measured = best_ranking(queries, database)
    network.feature_norm = norm

    def encode(images: NDArray[np.uint8]) -> tuple[Codes, Floats]:
        f7 = encode_in_batches(run, images)
        codes = apply_head(network, f7, np.zeros(len(f7), np.int64))[1].codes
        return codes, unit_length(f7) if norm == "unit" else f7

    about: dict[str, Any] = {"recipe": asdict(recipe), "pictures": len(data.training.labels)}
    about |= {"history": scores["history"], "files": data.files, "held_out": data.held_out_files}
    about |= describe_start(network, recipe.weights)
    found = {name: value for name, value in scores.items() if name != "history"}
    found |= {"held_out_pictures": len(data.held_out.labels), "held_out_retrieval": measured}
    if data.columns and data.held_out.targets is not None:
        about["columns"] = dict(data.columns)
        found["held_out_accuracy_of"] = accuracy_of_columns(logits, data.held_out.targets, data.columns)
    described = checkpoint.describe(network, name, data.classes)
    similarity = calibrate_on_images(encode, data.held_out)
    return replace(described, pool=pool, similarity=similarity, training=about, metrics=found)


def accuracy_of_columns(
    logits: Floats, targets: NDArray[np.int64], columns: tuple[tuple[str, int], ...]
) -> dict[str, float | None]:
    """Return the accuracy of F8 `(n, classes)` by column of labels `(n, columns)`; None where no image has one."""
    ends = np.cumsum([size for _, size in columns])
    found: dict[str, float | None] = {}
    for at, (name, size) in enumerate(columns):
        present = targets[:, at] >= 0
        part = logits[present, ends[at] - size : ends[at]]
        found[name] = accuracy(part, targets[present, at]) if len(part) else None
    return found


def encode_in_batches(run: Encode, images: NDArray[np.uint8]) -> Floats:
    """Compute F7 `(n, d)` of images `(n, size, size, 3)`."""
    return np.concatenate([run(images[first : first + _BATCH])[1] for first in range(0, len(images), _BATCH)])
