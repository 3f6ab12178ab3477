"""Compare the paper's method with its baselines on a labelled or unlabelled folder.

Run it as `lookalike compare DIR --out FOLDER`. One network computes F7 of all images once; every method is fitted on
`train` and queried with `test`. Methods are in `baselines/`, measures in `measure.py`, the report in `page.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.checkpoint.files import load
from models.checkpoint.info import CheckpointInfo
from models.comparison import page as compare_page
from models.comparison.baselines.registry import METHODS
from models.comparison.data import EncodedSplit, Files, encoded, read_files, relevant_images
from models.comparison.measure import Comparison
from models.comparison.resume_file import ResumeFile, identity
from models.data.folders import note_missing_classes
from models.errors import ConfigError
from models.evaluation.encode_files import prepare_for_inference
from models.network.latent_hash_net import LatentHashNet
from models.reports import report

Progress = Callable[[str, int, int], None]
# A network and its checkpoint's info.
LoadedNetwork = tuple[LatentHashNet, CheckpointInfo]
# Code length of the paper's plots, and maximum code length.
PLOTTED_BITS, MAX_BITS = 48, 1024
UNFINISHED = "unfinished.json"


def silent(_what: str, _done: int, _total: int) -> None:
    """Discard progress."""


@dataclass(frozen=True)
class ComparisonConfig:
    """Configuration of a comparison.

    Attributes:
        methods: keys of `models.comparison.baselines.registry.METHODS`.
        bits: code lengths.
        network: checkpoint whose F7 all methods use, by name or path.
        size: input side in pixels; None for the network's own.
        trained: checkpoints to compare with their own codes, by name or path.
        growth: also time fitting on growing numbers of images.
        keep: folder for cached encodings; None for the output folder.
        seed: random seed.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    bits: tuple[int, ...] = (12, 24, 32, 48, 128)
    network: str = "general"
    size: int | None = None
    trained: tuple[str, ...] = ()
    growth: bool = True
    keep: Path | None = None
    seed: int = 0


def compare(folder: Path, out: Path, choices: ComparisonConfig, progress: Progress = silent) -> dict[str, Any]:
    """Measure methods on a folder of images; write `metrics.json`, plots and `report.html` into `out`.

    Args:
        folder: `DIR/train/CLASS/FILE` and `DIR/test/CLASS/FILE`, `DIR/CLASS/FILE`, or without labels `DIR/FILE`.
        out: output folder; created if missing.
        choices: configuration.
        progress: called with the current step, the number done, and the total.

    Returns:
        The content of `metrics.json`.

    Raises:
        ConfigError: the configuration is invalid.
        CheckpointError: a network cannot be used.
        DatasetError: the folder cannot be used.
        ModelError: `out` or the folder for encodings is not writable.
    """
    begun = time.monotonic()
    require_known(choices)
    network, *trained = (load(checkpoint) for checkpoint in (choices.network, *choices.trained))
    keep = choices.keep or out
    for output_folder in (out, keep):
        report.require_writable(output_folder)
    files = read_files(folder, choices.seed)
    info, database, queries = encode_with(network, choices.size, files, keep, progress)
    relevant = relevant_images(database, queries, files.labelled)
    unfinished = ResumeFile(out / UNFINISHED, identity(database, queries, labelled=files.labelled, seed=choices.seed))
    comparison = Comparison(database, queries, relevant, unfinished, labelled=files.labelled, seed=choices.seed)
    encoding = time.monotonic() - begun
    plotted = PLOTTED_BITS if PLOTTED_BITS in choices.bits else max(choices.bits)
    methods = {
        name: comparison.method(name, choices.bits, progress_for(progress, f"{name}, {{}} bits"))
        for name in choices.methods
    }
    growth = measure_growth(comparison, choices, plotted, progress)
    for other in trained:
        own, own_database, own_queries = encode_with(other, None, files, keep, progress)
        methods[f"network {own.name}"] = measure_network(own, comparison, own_database, own_queries)
    found: dict[str, Any] = {
        "methods": methods,
        "bits": list(choices.bits),
        "plotted_bits": plotted,
        "growth": growth,
        "network": describe_network(info, choices.size),
        "data": describe_data(folder, files, database, queries),
        "seed": choices.seed,
        "seconds": {"encoding": encoding, "total": time.monotonic() - begun},
    }
    compare_page.write(found, out)
    unfinished.delete()
    return found


def require_known(choices: ComparisonConfig) -> None:
    """Check the configuration before the work.

    Raises:
        ConfigError: a method is unknown, or a code length is out of range.
    """
    if unknown := [name for name in choices.methods if name not in METHODS]:
        raise ConfigError(f"Unknown method {', '.join(unknown)}. Choose from {', '.join(METHODS)}.")
    if not choices.methods or not choices.bits or not all(1 <= bits <= MAX_BITS for bits in choices.bits):
        raise ConfigError(f"Choose at least one method, and codes of 1 to {MAX_BITS} bits.")


def encode_with(
    loaded: LoadedNetwork, size: int | None, files: Files, keep: Path, progress: Progress
) -> tuple[CheckpointInfo, EncodedSplit, EncodedSplit]:
    """Encode database and queries with a network.

    Raises:
        ConfigError: it does not take the input size.
    """
    network, info = loaded
    if size is not None:
        if info.quantisation is not None and size != network.preprocess.size:
            raise ConfigError(
                f"Image size {size}: {info.name} is quantised and needs {network.preprocess.size} pixels."
            )
        if size != network.preprocess.size:
            network = network.with_preprocess(replace(network.preprocess, size=size))
    prepare_for_inference(network)
    database, queries = (
        encoded(some, network, info.fingerprint, keep, lambda *done: progress(f"{info.name}: encoding", *done))
        for some in (files.database, files.queries)
    )
    return info, database, queries


def measure_growth(comparison: Comparison, choices: ComparisonConfig, bits: int, progress: Progress) -> dict[str, Any]:
    """Time fitting on growing numbers of images, by method; unsupervised methods are cheap and left out."""
    if not choices.growth:
        return {}
    supervised = [name for name in choices.methods if METHODS[name].learns != "no labels"]
    times = {
        name: comparison.growth(name, bits, progress_for(progress, f"{name}, learning from {{:,}}"))
        for name in supervised
    }
    return {name: taken for name, taken in times.items() if taken}


def measure_network(
    info: CheckpointInfo, comparison: Comparison, database: EncodedSplit, queries: EncodedSplit
) -> dict[str, Any]:
    """Measure a network's own codes; its training cost is unknown."""
    costs = {"seconds": None, "memory": None, "coding_seconds": None}
    scores = comparison.scores(database.codes, queries.codes, info.bits) | costs
    return {
        "title": info.name,
        "learns": "labels, end to end" if info.classes else "no labels",
        "pictures": None,
        "bits": {str(info.bits): scores},
        "refused": {},
    }


def progress_for(progress: Progress, what: str) -> Callable[[int], None]:
    """Return a callback that reports a number of bits or images as the current step; `what` is its template."""
    return lambda number: progress(what.format(number), 0, 1)


def describe_network(info: CheckpointInfo, size: int | None) -> dict[str, Any]:
    """Return the network's entry of `metrics.json`."""
    names = ("name", "fingerprint", "backbone", "feature_dim")
    return {name: getattr(info, name) for name in names} | {"size": size or info.preprocess.size}


def describe_data(folder: Path, files: Files, database: EncodedSplit, queries: EncodedSplit) -> dict[str, Any]:
    """Return the data set's entry of `metrics.json`."""
    missing = note_missing_classes(files.database.classes, database.labels, queries.labels)
    return {
        "folder": folder.resolve().name,
        "classes": list(files.database.classes) if files.labelled else [],
        "database": len(database.labels),
        "queries": len(queries.labels),
        "queries_from": files.origin,
        "unreadable": database.unreadable + queries.unreadable,
        "notes": [*files.database.notes, *(missing if files.labelled else ())],
    }
