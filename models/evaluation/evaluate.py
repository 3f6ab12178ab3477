"""Measure retrieval of a checkpoint: the test images of a labelled folder search its training images.

Run it as `lookalike evaluate CHECKPOINT DIR --out FOLDER` or `python -m models.evaluation.evaluate`. It measures the
paper's three searches (ES, BCS, HDS), and F7 of the same backbone with ImageNet weights. Encoding is in
`encode_files.py`, searching and its measures in `search.py`, the report in `models/reports/`.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoint.files import load
from models.checkpoint.info import CheckpointInfo, FeatureNorm
from models.data.dataset import LabelledFiles, read_splits
from models.data.folders import TEST, TRAIN, VALIDATION, note_missing_classes, same_name
from models.data.held_out import HELD_OUT, split_files
from models.errors import DatasetError, ModelError, WeightsUnavailableError
from models.evaluation import metrics
from models.evaluation.encode_files import Encoded, encode_files, prepare_for_inference
from models.evaluation.label_report import measure_labels
from models.evaluation.search import retrieval, samples
from models.network.latent_hash_net import LatentHashNet
from models.reports import report

Progress = Callable[[str, int, int], None]


def silent(_what: str, _done: int, _total: int) -> None:
    """Discard progress."""


def evaluate(
    checkpoint: str | Path,
    folder: Path,
    out: Path,
    *,
    unseen: bool | None = None,
    pool: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure a checkpoint on a labelled folder; write `metrics.json`, plots and `report.html` into `out`.

    Args:
        checkpoint: the name of a pretrained one, or a path.
        folder: `DIR/train/CLASS/FILE` and `DIR/test/CLASS/FILE`, or `DIR/CLASS/FILE`.
        out: output folder; created if missing.
        unseen: also measure the classes outside the checkpoint's training data; None if there are at least two.
        pool: candidates of the coarse search; None for the checkpoint's default.
        progress: called with the current step, the number done, and the total.

    Returns:
        The content of `metrics.json`.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DatasetError: the folder cannot be used.
        ModelError: `out` is not writable.
    """
    begun = time.monotonic()
    report.require_writable(out)
    network, info = load(checkpoint)
    pool = pool or info.pool
    prepare_for_inference(network)
    database_files, query_files, origin = split_queries(folder, info)
    novel = unseen_labels(database_files, info, unseen)
    imagenet, reason = imagenet_network(info)
    database = encode_files(database_files, network, imagenet, lambda *done: progress("encoding the database", *done))
    # Ties are broken by position. In the folder's order that would be by class, which is no realistic order.
    database = database.shuffled()
    queries = encode_files(query_files, network, imagenet, lambda *done: progress("encoding queries", *done))
    encoded = time.monotonic()
    norms, modes = retrieval(queries, database, info.feature_norm, pool, lambda *done: progress("searching", *done))
    health = metrics.code_health(database.codes, database.labels)
    found: dict[str, Any] = {
        **classification(network, info, database_files.classes, queries),
        "modes": modes,
        "modes_missing": {"imagenet": reason} if reason else {},
        "feature_norm": {"used": info.feature_norm, **norms},
        "codes": {**asdict(health), "ones": list(health.ones)},
        "unseen": measure_unseen(queries, database, novel, database_files.classes, info.feature_norm, pool, modes),
        "checkpoint": describe(info),
        "data": {**data(folder, database_files, database, queries), "queries_from": origin, "pool": pool},
        "seconds": {"encoding": encoded - begun, "total": time.monotonic() - begun},
    }
    found["labels"], pictures = measure_labels(queries, database, database_files.classes, folder)
    report.write(found, samples(queries, database, info.feature_norm, pool), out, pictures)
    return found


def split_queries(folder: Path, info: CheckpointInfo) -> tuple[LabelledFiles, LabelledFiles, str]:
    """Return database, queries and the origin of the queries.

    Queries are the split `test` or `validation` if there is one. Otherwise a share of every class: `held out` if these
    are the training files (the images that training held out), else `drawn` at random.

    Raises:
        DatasetError: there is nothing to search, or no query.
    """
    splits = read_splits(folder)
    for apart in (TEST, VALIDATION):
        if apart in splits:
            return splits[TRAIN], splits[apart], apart
    files, seed = splits[TRAIN], info.training.get("recipe", {}).get("seed", 0)
    # Training holds out the same share with the same seed. Other files may have been in the training data.
    origin = "held out" if info.training.get("files") == files.checksum() else "drawn"
    held = info.training.get("held_out") if origin == "held out" else None
    if held is not None:
        is_held = np.isin(np.arange(len(files)), held)
        return files.subset(np.flatnonzero(~is_held)), files.subset(np.flatnonzero(is_held)), origin
    database, queries = split_files(files, HELD_OUT, seed)
    if not len(queries):
        raise DatasetError(
            f"{folder}: every class has only one image. Add images, so that one can be the query and another the match."
        )
    return database, queries, origin


def unseen_labels(files: LabelledFiles, info: CheckpointInfo, wanted: bool | None) -> list[int]:
    """Return the labels of classes outside the checkpoint's training data; empty if they are not measured.

    Raises:
        DatasetError: they are required, and there are fewer than two.
    """
    known = set(map(same_name, info.classes))
    found = [label for label, name in enumerate(files.classes) if name not in known]
    enough = len(found) > 1
    if wanted and not enough:
        raise DatasetError(
            f"Retrieval among unseen classes needs two or more that {info.name} was not trained on, not {len(found)}."
        )
    return found if enough and wanted is not False else []


def imagenet_network(info: CheckpointInfo) -> tuple[LatentHashNet | None, str]:
    """Return the checkpoint's backbone with ImageNet weights, or None and the reason."""
    network = LatentHashNet(info.backbone, info.bits, 0, info.preprocess)
    try:
        network.load_imagenet()
    except WeightsUnavailableError as error:
        return None, str(error)
    return prepare_for_inference(network), ""


@torch.inference_mode()
def classification(
    network: LatentHashNet, info: CheckpointInfo, classes: tuple[str, ...], queries: Encoded
) -> dict[str, Any]:
    """Return the accuracy of F8 on the queries, or the reason why there is none."""
    # Checkpoints of earlier versions have the names as their folders were written.
    known = list(map(same_name, info.classes))
    # Of several columns of labels, the first is the one that searches are measured by.
    known = known[: next(iter(info.training.get("columns", {}).values()), len(known))]
    if set(classes) != set(known):
        odd = sorted(set(classes) ^ set(known))
        shown = ", ".join(odd[:6]) + (f" and {len(odd) - 6} more" if len(odd) > 6 else "")  # noqa: PLR2004 - a line's worth
        return {"accuracy": None, "accuracy_missing": f"The classes of data set and checkpoint differ: {shown}."}
    device = next(network.parameters()).device
    logits = network.classifier(network.activations(torch.from_numpy(queries.features).to(device))).cpu().numpy()
    order = [known.index(name) for name in classes]
    return {"accuracy": metrics.accuracy(logits[:, order], queries.labels)}


def measure_unseen(
    queries: Encoded,
    database: Encoded,
    labels: list[int],
    classes: tuple[str, ...],
    norm: FeatureNorm,
    pool: int,
    modes: dict[str, Any],
) -> dict[str, Any] | None:
    """Measure retrieval among these classes alone; `modes` has the measures over all classes."""
    if not labels:
        return None
    unseen_queries, unseen_database = (
        side.subset(np.flatnonzero(np.isin(side.labels, labels))) for side in (queries, database)
    )
    if not unseen_queries.paths or not unseen_database.paths:
        return None
    if len(labels) < len(classes):
        _, modes = retrieval(unseen_queries, unseen_database, norm, pool)
    counts = {"database": len(unseen_database.paths), "queries": len(unseen_queries.paths)}
    return {"classes": [classes[label] for label in labels], **counts, "modes": modes}


def describe(info: CheckpointInfo) -> dict[str, Any]:
    """Return the checkpoint's entry of `metrics.json`."""
    names = ("name", "fingerprint", "precision", "backbone", "bits", "feature_dim", "feature_norm")
    return {name: getattr(info, name) for name in names} | {"size": info.preprocess.size, "classes": list(info.classes)}


def data(folder: Path, files: LabelledFiles, database: Encoded, queries: Encoded) -> dict[str, Any]:
    """Return the data set's entry of `metrics.json`."""
    unreadable = (*database.unreadable, *queries.unreadable)
    return {
        "folder": folder.resolve().name,
        "classes": list(files.classes),
        "database": len(database.paths),
        "queries": len(queries.paths),
        "unreadable": [path.relative_to(folder).as_posix() for path in unreadable],
        "notes": [*files.notes, *note_missing_classes(files.classes, database.labels, queries.labels)],
    }


def main() -> None:
    """Run `python -m models.evaluation.evaluate CHECKPOINT DIR --out FOLDER`; otherwise use `lookalike evaluate`."""
    parser = argparse.ArgumentParser(description="Measure retrieval of a checkpoint.")
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("evaluation"))
    parser.add_argument("--unseen", action=argparse.BooleanOptionalAction)
    given = parser.parse_args()
    try:
        evaluate(given.checkpoint, given.folder, given.out, unseen=given.unseen, progress=tell)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    sys.stdout.write(f"{given.out / 'report.html'}\n")


def tell(what: str, done: int, total: int) -> None:
    """Print a line for every batch."""
    sys.stderr.write(f"{what} {done}/{total}\n")


if __name__ == "__main__":
    main()
