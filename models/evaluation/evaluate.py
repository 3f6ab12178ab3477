"""How well a checkpoint searches: the test images of a labelled folder ask, its training images are searched.

Run it as `lookalike evaluate CHECKPOINT DIR --out FOLDER` or `python -m models.evaluation.evaluate`. It measures the
paper's three ways to search (ES, BCS, HDS), and beside them F7 of the same backbone with ImageNet weights only. How
images are encoded, how searching is measured and how results are shown stands in `encode_files.py`,
`evaluate_search.py` and `report.py`.
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
from models.data.dataset import HELD_OUT, TEST, TRAIN, VALIDATION, LabelledFiles, read_splits, split_files
from models.errors import DatasetError, ModelError, WeightsUnavailableError
from models.evaluation import metrics
from models.evaluation.encode_files import Encoded, encode_files, prepare_for_inference
from models.evaluation.search import retrieval, samples
from models.network.latent_hash_net import LatentHashNet
from models.reports import report

Progress = Callable[[str, int, int], None]


def silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing."""


def evaluate(
    checkpoint: str | Path,
    folder: Path,
    out: Path,
    *,
    unseen: bool | None = None,
    pool: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure a checkpoint on a labelled folder and writes `metrics.json`, plots and `report.html` into `out`.

    Args:
        checkpoint: the name of one that ships, or a path.
        folder: `DIR/train/CLASS/FILE` and `DIR/test/CLASS/FILE`, or `DIR/CLASS/FILE`.
        out: a folder to be.
        unseen: measure classes that the checkpoint was not trained on by themselves; None where there are two.
        pool: candidates that the coarse step hands to the fine one; None for what the checkpoint says.
        progress: hears what is done, how much of it, and of how much.

    Returns:
        What `metrics.json` holds.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DatasetError: the folder cannot be used.
        ModelError: `out` cannot be written to.
    """
    begun = time.monotonic()
    report.require_writable(out)
    network, info = load(checkpoint)
    pool = pool or info.pool
    prepare_for_inference(network)
    database_files, query_files, origin = split_queries(folder, info)
    strangers = unseen_labels(database_files, info, unseen)
    imagenet, why_not = imagenet_network(info)
    database = encode_files(database_files, network, imagenet, lambda *done: progress("encoding the database", *done))
    # Ties are broken by place. In the order of a folder that would be by class, which no catalogue is filled in.
    database = database.shuffled()
    queries = encode_files(query_files, network, imagenet, lambda *done: progress("encoding queries", *done))
    encoded = time.monotonic()
    norms, modes = retrieval(queries, database, info.feature_norm, pool, lambda *done: progress("searching", *done))
    health = metrics.code_health(database.codes, database.labels)
    found: dict[str, Any] = {
        **classification(network, info, database_files.classes, queries),
        "modes": modes,
        "modes_missing": {"imagenet": why_not} if why_not else {},
        "feature_norm": {"used": info.feature_norm, **norms},
        "codes": {**asdict(health), "ones": list(health.ones)},
        "unseen": measure_unseen(queries, database, strangers, database_files.classes, info.feature_norm, pool, modes),
        "checkpoint": describe(info),
        "data": {**data(folder, database_files.classes, database, queries), "queries_from": origin, "pool": pool},
        "seconds": {"encoding": encoded - begun, "total": time.monotonic() - begun},
    }
    report.write(found, samples(queries, database, info.feature_norm, pool), out)
    return found


def split_queries(folder: Path, info: CheckpointInfo) -> tuple[LabelledFiles, LabelledFiles, str]:
    """Return database, queries and where the queries come from.

    They are `test` or `validation` where there is such a split. Else a share of every class: the one that training
    `held out`, if these are the files that it learnt from, or one that is `drawn`.

    Raises:
        DatasetError: there is nothing to search, or nothing to ask.
    """
    splits = read_splits(folder)
    for apart in (TEST, VALIDATION):
        if apart in splits:
            return splits[TRAIN], splits[apart], apart
    files, seed = splits[TRAIN], info.training.get("recipe", {}).get("seed", 0)
    # Training holds out the same share by the same seed. Of other files nobody knows which it has seen.
    origin = "held out" if info.training.get("files") == files.checksum() else "drawn"
    database, queries = split_files(files, HELD_OUT, seed)
    if not len(queries):
        raise DatasetError(f"{folder}: no class has two images, one to ask with and one to find.")
    return database, queries, origin


def unseen_labels(files: LabelledFiles, info: CheckpointInfo, wanted: bool | None) -> list[int]:
    """Return the labels of classes that the checkpoint was not trained on; none where they are not to be measured.

    Raises:
        DatasetError: they are wanted, and there are fewer than two.
    """
    found = [label for label, name in enumerate(files.classes) if name not in info.classes]
    enough = len(found) > 1
    if wanted and not enough:
        raise DatasetError(
            f"Retrieval among unseen classes needs two or more that {info.name} was not trained on; "
            f"here are {len(found)}."
        )
    return found if enough and wanted is not False else []


def imagenet_network(info: CheckpointInfo) -> tuple[LatentHashNet | None, str]:
    """Return the checkpoint's backbone as ImageNet left it, or None and why it is not to be had."""
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
    """Return the accuracy of F8 on the queries, or why there is none."""
    if set(classes) != set(info.classes):
        odd = sorted(set(classes) ^ set(info.classes))
        shown = ", ".join(odd[:6]) + (f" and {len(odd) - 6} more" if len(odd) > 6 else "")  # noqa: PLR2004 - a line's worth
        return {"accuracy": None, "accuracy_missing": f"Data set and checkpoint do not have the same classes: {shown}."}
    device = next(network.parameters()).device
    logits = network.classifier(network.activations(torch.from_numpy(queries.features).to(device))).cpu().numpy()
    order = [info.classes.index(name) for name in classes]
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
    """Measure retrieval among these classes alone; `modes` is what was found among all."""
    if not labels:
        return None
    asking, searched = (side.subset(np.flatnonzero(np.isin(side.labels, labels))) for side in (queries, database))
    if not asking.paths or not searched.paths:
        return None
    if len(labels) < len(classes):
        _, modes = retrieval(asking, searched, norm, pool)
    counts = {"database": len(searched.paths), "queries": len(asking.paths)}
    return {"classes": [classes[label] for label in labels], **counts, "modes": modes}


def describe(info: CheckpointInfo) -> dict[str, Any]:
    """Says which network was measured."""
    names = ("name", "fingerprint", "backbone", "bits", "feature_dim", "feature_norm")
    return {name: getattr(info, name) for name in names} | {"size": info.preprocess.size, "classes": list(info.classes)}


def data(folder: Path, classes: tuple[str, ...], database: Encoded, queries: Encoded) -> dict[str, Any]:
    """Says what it was measured on."""
    unreadable = (*database.unreadable, *queries.unreadable)
    return {
        "folder": folder.resolve().name,
        "classes": list(classes),
        "database": len(database.paths),
        "queries": len(queries.paths),
        "unreadable": [path.relative_to(folder).as_posix() for path in unreadable],
    }


def main() -> None:
    """`python -m models.evaluation.evaluate CHECKPOINT DIR --out FOLDER`; people use `lookalike evaluate`."""
    parser = argparse.ArgumentParser(description="Measure how well a checkpoint searches.")
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
    """Write a line a step."""
    sys.stderr.write(f"{what} {done}/{total}\n")


if __name__ == "__main__":
    main()
