"""How well a checkpoint searches: the test pictures of a labelled folder ask, its training pictures are searched.

Run it as `lookalike evaluate CHECKPOINT DIR --out FOLDER` or `python -m models.evaluate`. It measures the paper's three
ways to search (ES, BCS, HDS), and beside them F7 of the same backbone with ImageNet weights only. Pictures are decoded a
batch at a time and encoded once by each network; what stays in memory is F7 and codes. How results are shown is
`models/report.py`'s business.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import metrics, report
from models.checkpoint import CheckpointInfo, load
from models.codes import Codes, Floats, hamming
from models.dataset import TEST, TRAIN, LabelledFiles, hold_out, open_rgb, read_splits
from models.devices import pick_device
from models.encode import BATCH, encode
from models.errors import DatasetError, WeightsUnavailableError
from models.metrics import Doubles, Ranking
from models.network import LatentHashNet
from models.report_pictures import Sample

KS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
MODES = ("es", "hds", "bcs", "imagenet")
DEPTH, RADIUS = 1000, 2
# Training holds out the same share by the same seed, so that queries are pictures which it has not seen.
HELD_OUT = 0.1
SAMPLES, SHOWN = 8, 5
# A sign of life every so many queries.
_STEP = 64

Progress = Callable[[str, int, int], None]
Scores = dict[str, float | Doubles]


def silent(_what: str, _done: int, _total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Encoded:
    """Pictures as the networks see them.

    Attributes:
        paths: the pictures that could be read.
        labels: `(n,)` int64.
        codes: `(n, bits / 8)` uint8.
        features: `(n, d)` float32, raw F7.
        imagenet: the same by the backbone as ImageNet left it, or None.
        unreadable: files that were left out.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    codes: Codes
    features: Floats
    imagenet: Floats | None
    unreadable: tuple[Path, ...] = ()

    def subset(self, chosen: NDArray[np.int64]) -> "Encoded":
        """Returns the pictures at these positions."""
        imagenet = None if self.imagenet is None else self.imagenet[chosen]
        paths = tuple(self.paths[position] for position in chosen)
        return Encoded(paths, self.labels[chosen], self.codes[chosen], self.features[chosen], imagenet)


def evaluate(
    checkpoint: str | Path,
    folder: Path,
    out: Path,
    *,
    unseen: bool | None = None,
    pool: int = 1000,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measures a checkpoint on a labelled folder and writes `metrics.json`, plots and `report.html` into `out`.

    Args:
        checkpoint: the name of one that ships, or a path.
        folder: `DIR/train/CLASS/FILE` and `DIR/test/CLASS/FILE`, or `DIR/CLASS/FILE`.
        out: a folder to be.
        unseen: measure classes that the checkpoint was not trained on by themselves; None where there are two.
        pool: candidates that the coarse step hands to the fine one.
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
    database_files, query_files, origin = sides(folder, info)
    strangers = unseen_labels(database_files, info, unseen)
    imagenet, why_not = imagenet_network(info)
    database = encode_files(database_files, network, imagenet, lambda *done: progress("encoding the database", *done))
    queries = encode_files(query_files, network, imagenet, lambda *done: progress("encoding queries", *done))
    encoded = time.monotonic()
    norms, modes = retrieval(queries, database, info, pool, lambda *done: progress("searching", *done))
    found: dict[str, Any] = {
        **classification(network, info, database_files.classes, queries),
        "modes": modes,
        "modes_missing": {"imagenet": why_not} if why_not else {},
        "feature_norm": {"used": info.feature_norm, **norms},
        "codes": asdict(metrics.code_health(database.codes, database.labels)),
        "unseen": measure_unseen(queries, database, strangers, database_files.classes, info, pool, modes),
        "checkpoint": describe(info),
        "data": {**data(folder, database_files.classes, database, queries), "queries_from": origin, "pool": pool},
        "seconds": {"encoding": encoded - begun, "total": time.monotonic() - begun},
    }
    report.write(found, samples(queries, database, info, pool), out)
    return found


def sides(folder: Path, info: CheckpointInfo) -> tuple[LabelledFiles, LabelledFiles, str]:
    """Returns database, queries and where the queries come from: `test`, or a share `held out` of every class.

    Raises:
        DatasetError: there is nothing to search, or nothing to ask.
    """
    splits = read_splits(folder)
    if TEST in splits:
        return splits[TRAIN], splits[TEST], "test"
    seed = info.training.get("recipe", {}).get("seed", 0)
    database, queries = hold_out(splits[TRAIN], HELD_OUT, seed)
    if not len(queries):
        raise DatasetError(f"{folder}: no class has two pictures, one to ask with and one to find.")
    return database, queries, "held out"


def unseen_labels(files: LabelledFiles, info: CheckpointInfo, wanted: bool | None) -> list[int]:
    """Returns the labels of classes that the checkpoint was not trained on; none where they are not to be measured.

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
    """Returns the checkpoint's backbone as ImageNet left it, or None and why it is not to be had."""
    network = LatentHashNet(info.backbone, info.bits, 0, info.preprocess)
    try:
        network.load_imagenet()
    except WeightsUnavailableError as error:
        return None, str(error)
    return network, ""


def encode_files(
    files: LabelledFiles,
    network: LatentHashNet,
    imagenet: LatentHashNet | None,
    progress: Callable[[int, int], None],
) -> Encoded:
    """Encodes pictures a batch at a time, both networks from one decoding; unreadable files are named and left out.

    Raises:
        DatasetError: none could be read.
    """
    encoders = [ready(each) for each in (network, imagenet) if each is not None]
    features = [np.empty((len(files), network.feature_dim), np.float32) for _ in encoders]
    codes = np.empty((len(files), network.bits // 8), np.uint8)
    kept: list[int] = []
    for first in range(0, len(files), BATCH):
        chosen, pictures = decode(files, range(first, min(first + BATCH, len(files))), network)
        here = slice(len(kept), len(kept) + len(chosen))
        if chosen:
            for encoder, store in zip(reversed(encoders), reversed(features), strict=True):
                codes[here], store[here] = encode(encoder, pictures)
        kept += chosen
        progress(min(first + BATCH, len(files)), len(files))
    if not kept:
        raise DatasetError(f"None of the {len(files)} files could be read as a picture, {files.paths[0]} among them.")
    readable, count = set(kept), len(kept)
    return Encoded(
        paths=tuple(files.paths[position] for position in kept),
        labels=files.labels[kept],
        codes=codes[:count],
        features=features[0][:count],
        imagenet=features[1][:count] if imagenet else None,
        unreadable=tuple(path for position, path in enumerate(files.paths) if position not in readable),
    )


def ready(network: LatentHashNet) -> LatentHashNet:
    """Makes a network give raw F7, as fast as this machine can."""
    network.feature_norm = "raw"
    network.to(pick_device())
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in torch's stubs


def decode(files: LabelledFiles, positions: range, network: LatentHashNet) -> tuple[list[int], NDArray[np.uint8]]:
    """Returns which of these files are pictures, and them `(m, size, size, 3)` as the network reads them."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    for position in positions:
        try:
            pictures[position] = network.preprocess(open_rgb(files.paths[position]))
        except OSError:
            continue
    size = network.preprocess.size
    return list(pictures), np.array(list(pictures.values()), np.uint8).reshape(-1, size, size, 3)


def retrieval(
    queries: Encoded,
    database: Encoded,
    info: CheckpointInfo,
    pool: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Searches with every query in every mode; returns what was measured by norm of F7, and by mode."""
    sums: dict[str, Scores] = {}
    for done, (label, code, rankings) in enumerate(searches(queries, database, pool), 1):
        for way, ranking in rankings.items():
            add(sums.setdefault(way, {}), score(database.labels[ranking] == label))
        coarse = rankings["bcs"]
        add(sums["bcs"], score_codes(database.labels[coarse] == label, hamming(code, database.codes[coarse])))
        if done % _STEP == 0 or done == len(queries.labels):
            progress(done, len(queries.labels))
    ways = {way: named(total, len(queries.labels)) for way, total in sums.items()}
    norms = {norm: {mode: ways[f"{mode} {norm}"] for mode in ("es", "hds")} for norm in ("raw", "unit")}
    modes = ways | norms[info.feature_norm]
    return norms, {mode: modes[mode] for mode in MODES if mode in modes}


def searches(
    queries: Encoded, database: Encoded, pool: int
) -> Iterator[tuple[np.int64, Codes, dict[str, Ranking]]]:
    """Yields each query's label and code, and how the ways to search rank the whole database for it."""
    raw = metrics.squared_distances(queries.features, database.features, "raw")
    unit = metrics.squared_distances(queries.features, database.features, "unit")
    imagenet: Iterator[Floats | None] = iter([None] * len(queries.labels))
    if queries.imagenet is not None and database.imagenet is not None:
        imagenet = metrics.squared_distances(queries.imagenet, database.imagenet)
    for label, code, *distances in zip(queries.labels, queries.codes, raw, unit, imagenet, strict=True):
        coarse = metrics.rank_by_hamming(code, database.codes)
        found = {"bcs": coarse}
        for norm, near in zip(("raw", "unit"), distances[:2], strict=True):
            found |= {f"es {norm}": metrics.rank(near), f"hds {norm}": metrics.rerank(coarse, near, pool)}
        if distances[2] is not None:
            found["imagenet"] = metrics.rank(distances[2])
        yield label, code, found


def score(relevant: metrics.Relevance) -> Scores:
    """Measures one ranking of the whole database."""
    return {
        "precision": np.array([metrics.precision_at(relevant, k) for k in KS if k <= len(relevant)]),
        "map_1000": metrics.average_precision(relevant[:DEPTH]),
        "map": metrics.average_precision(relevant),
        "precision_by_recall": metrics.precision_by_recall(relevant),
    }


def score_codes(relevant: metrics.Relevance, distances: NDArray[np.int32]) -> Scores:
    """Measures what only codes have: ties and radii. Its precision by recall takes the place of `score`'s."""
    within = metrics.precision_within(relevant, distances, RADIUS)
    ends = np.flatnonzero(np.diff(distances, append=-1)) + 1
    return {
        "map_tie_aware": metrics.tie_aware_average_precision(relevant, distances),
        "precision_radius_2": within or 0.0,
        "empty_radius_2": float(within is None),
        "precision_by_radius_recall": metrics.precision_by_recall(relevant, ends),
    }


def add(total: Scores, scores: Scores) -> None:
    """Adds one query's scores to the sum."""
    for name, value in scores.items():
        total[name] = total.get(name, 0.0) + value


def named(total: Scores, count: int) -> dict[str, Any]:
    """Divides sums by the number of queries and gives them the names that `metrics.json` has."""
    means = {name: (value / count) for name, value in total.items()}
    plain: dict[str, Any] = {n: v.tolist() if isinstance(v, np.ndarray) else float(v) for n, v in means.items()}
    plain["precision"] = {str(k): value for k, value in zip(KS, plain["precision"], strict=False)}
    # The order within ties says nothing, so codes are judged where radii end.
    plain["precision_by_recall"] = plain.pop("precision_by_radius_recall", plain["precision_by_recall"])
    return plain


@torch.inference_mode()
def classification(
    network: LatentHashNet, info: CheckpointInfo, classes: tuple[str, ...], queries: Encoded
) -> dict[str, Any]:
    """Returns the accuracy of F8 on the queries, or why there is none."""
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
    info: CheckpointInfo,
    pool: int,
    modes: dict[str, Any],
) -> dict[str, Any] | None:
    """Measures retrieval among these classes alone; `modes` is what was found among all."""
    if not labels:
        return None
    asking, searched = (side.subset(np.flatnonzero(np.isin(side.labels, labels))) for side in (queries, database))
    if not asking.paths or not searched.paths:
        return None
    if len(labels) < len(classes):
        _, modes = retrieval(asking, searched, info, pool)
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


def samples(queries: Encoded, database: Encoded, info: CheckpointInfo, pool: int) -> list[Sample]:
    """Returns what a few queries, spread evenly over all, find in every mode."""
    count = min(SAMPLES, len(queries.paths))
    chosen = queries.subset((np.arange(count) * 2 + 1) * len(queries.paths) // (2 * count))
    found: list[Sample] = []
    for path, (label, _, rankings) in zip(chosen.paths, searches(chosen, database, pool), strict=True):
        ways = rankings | {mode: rankings[f"{mode} {info.feature_norm}"] for mode in ("es", "hds")}
        best = {mode: ways[mode][:SHOWN] for mode in MODES if mode in ways}
        results = {mode: [(database.paths[i], bool(database.labels[i] == label)) for i in top] for mode, top in best.items()}
        found.append(Sample(path, results))
    return found


def main() -> None:
    """`python -m models.evaluate CHECKPOINT DIR --out FOLDER`; people use `lookalike evaluate`."""
    parser = argparse.ArgumentParser(description="Measure how well a checkpoint searches.")
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("evaluation"))
    parser.add_argument("--unseen", action=argparse.BooleanOptionalAction)
    given = parser.parse_args()
    evaluate(given.checkpoint, given.folder, given.out, unseen=given.unseen, progress=tell)
    sys.stdout.write(f"{given.out / 'report.html'}{os.linesep}")


def tell(what: str, done: int, total: int) -> None:
    """Writes a line a step."""
    sys.stderr.write(f"{what} {done}/{total}\n")


if __name__ == "__main__":
    main()
