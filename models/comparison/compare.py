"""The paper's comparison on one's own images: its method beside those that it was measured against.

Run it as `lookalike compare DIR --out FOLDER`. One network makes F7 of all images once, and every method learns from
those of `train` and is asked with those of `test`. Methods stand in `models/baselines/`, how they are measured in
`compare_measure.py`, and how results are shown in `compare_page.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.checkpoint.files import load
from models.checkpoint.info import CheckpointInfo
from models.comparison import page as compare_page
from models.comparison.baselines.kinds import KINDS
from models.comparison.data import EncodedSplit, Files, encoded, read_files, relevant_images
from models.comparison.measure import Comparison
from models.comparison.resume_file import ResumeFile, identity
from models.errors import RecipeError
from models.evaluation.encode_files import prepare_for_inference
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.reports import report

Progress = Callable[[str, int, int], None]
# A network, and what its checkpoint says of it.
LoadedNetwork = tuple[LatentHashNet, CheckpointInfo]
# The paper's plots are of 48 bits.
PLOTTED_BITS, MAX_BITS = 48, 1024
UNFINISHED = "unfinished.json"


def silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Choices:
    """What to compare, and on what.

    Attributes:
        methods: names of `models.comparison.baselines.kinds.KINDS`.
        bits: how long codes are.
        network: whose F7 all methods read: a checkpoint by name or path.
        size: side of the images that it reads, in pixels; None for its own.
        trained: checkpoints that `lookalike train` made, to stand in the table with their own codes.
        growth: whether to time learning from more and more images.
        keep: where encodings are kept; None for the folder of the results.
        seed: where all randomness starts.
    """

    methods: tuple[str, ...] = tuple(KINDS)
    bits: tuple[int, ...] = (12, 24, 32, 48, 128)
    network: str = "general"
    size: int | None = None
    trained: tuple[str, ...] = ()
    growth: bool = True
    keep: Path | None = None
    seed: int = 0


def compare(folder: Path, out: Path, choices: Choices, progress: Progress = silent) -> dict[str, Any]:
    """Measure methods on a folder of images and writes `metrics.json`, plots and `report.html` into `out`.

    Args:
        folder: `DIR/train/CLASS/FILE` and `DIR/test/CLASS/FILE`, `DIR/CLASS/FILE`, or without labels `DIR/FILE`.
        out: a folder to be.
        choices: what to compare.
        progress: hears what is done, how much of it, and of how much.

    Returns:
        What `metrics.json` holds.

    Raises:
        RecipeError: the choices make no sense.
        CheckpointError: a network cannot be used.
        DatasetError: the folder cannot be used.
        ModelError: `out`, or where encodings are kept, cannot be written to.
    """
    begun = time.monotonic()
    require_known(choices)
    network, *trained = (load(checkpoint) for checkpoint in (choices.network, *choices.trained))
    keep = choices.keep or out
    for place in (out, keep):
        report.require_writable(place)
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
        own, searched, asking = encode_with(other, None, files, keep, progress)
        methods[f"network {own.name}"] = measure_network(own, comparison, searched, asking)
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
    unfinished.done()
    return found


def require_known(choices: Choices) -> None:
    """Find out before the work whether it can be done.

    Raises:
        RecipeError: a method is unknown, or there can be no codes so long.
    """
    if odd := [name for name in choices.methods if name not in KINDS]:
        raise RecipeError(f"There is no method {', '.join(odd)}; there are {', '.join(KINDS)}.")
    if not choices.methods or not choices.bits or not all(1 <= bits <= MAX_BITS for bits in choices.bits):
        raise RecipeError(f"Compare one method or more, with codes of 1 to {MAX_BITS} bits.")


def encode_with(
    loaded: LoadedNetwork, size: int | None, files: Files, keep: Path, progress: Progress
) -> tuple[CheckpointInfo, EncodedSplit, EncodedSplit]:
    """Return what a network makes of the database and of the queries.

    Raises:
        RecipeError: it cannot read images so small.
    """
    network, info = loaded
    if size is not None:
        if size < (smallest := BACKBONES[info.backbone].smallest):
            raise RecipeError(f"{info.backbone} reads images of {smallest} pixels or more, not {size}.")
        network.preprocess = replace(network.preprocess, size=size)
    prepare_for_inference(network)
    database, queries = (
        encoded(some, network, info.fingerprint, keep, lambda *done: progress(f"{info.name}: encoding", *done))
        for some in (files.database, files.queries)
    )
    return info, database, queries


def measure_growth(comparison: Comparison, choices: Choices, bits: int, progress: Progress) -> dict[str, Any]:
    """Time learning from more and more images, by method; those that learn from no labels cost next to nothing."""
    if not choices.growth:
        return {}
    asked = [name for name in choices.methods if KINDS[name].learns != "no labels"]
    times = {
        name: comparison.growth(name, bits, progress_for(progress, f"{name}, learning from {{:,}}")) for name in asked
    }
    return {name: taken for name, taken in times.items() if taken}


def measure_network(
    info: CheckpointInfo, comparison: Comparison, database: EncodedSplit, queries: EncodedSplit
) -> dict[str, Any]:
    """Measure a network's own codes; what it learnt from, and in what time, only its maker knows."""
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
    """Return what to tell a number of bits or of images as the next thing under way; `what` has a place for it."""
    return lambda number: progress(what.format(number), 0, 1)


def describe_network(info: CheckpointInfo, size: int | None) -> dict[str, Any]:
    """Says whose F7 was read."""
    names = ("name", "fingerprint", "backbone", "feature_dim")
    return {name: getattr(info, name) for name in names} | {"size": size or info.preprocess.size}


def describe_data(folder: Path, files: Files, database: EncodedSplit, queries: EncodedSplit) -> dict[str, Any]:
    """Says what was measured on."""
    return {
        "folder": folder.resolve().name,
        "classes": list(files.database.classes) if files.labelled else [],
        "database": len(database.labels),
        "queries": len(queries.labels),
        "queries_from": files.origin,
        "unreadable": database.unreadable + queries.unreadable,
    }
