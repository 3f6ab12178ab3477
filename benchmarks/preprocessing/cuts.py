"""Compare networks and cuts without labels: precision@10 of exhaustive search over F7, and time of an image.

    python -m benchmarks.preprocessing.cuts DIR --of general,general-small,efficientnet_lite0:square-7/8 --queries 1000

Queries are the split `test` (or another, `--split`), or else images drawn at random; the rest is searched. Every image
is measured as it is, and with its object off the centre (`off_centre.py`) on both kinds of background. Labels
only tell which results are relevant.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.preprocessing.off_centre import BACKGROUNDS, Background, off_centre
from models.checkpoint.files import load
from models.data.dataset import LabelledFiles, open_rgb, read_splits
from models.evaluation.metrics import precision_at, rank, squared_distances
from models.network.backbones import BACKBONES
from models.network.codes import Floats
from models.network.cuts import CUTS, Cut
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import OpenVinoRuntime, convert
from models.network.registry import new_preprocess

K, BATCH, TIMED = 10, 16, 40


def main() -> None:
    """Measure and print a table."""
    options = arguments()
    database, queries = split(options.folder, options.split, options.queries, options.half)
    if options.database:
        rows = np.random.default_rng(1).permutation(len(database))[: options.database]
        database = database.subset(np.sort(rows))
    print(f"{len(queries):,} queries against {len(database):,} images of {options.folder}")
    kinds: list[Background | None] = [None, *BACKGROUNDS]
    print(f"{'network':34}" + "".join(f"{kind or 'as is':>9}" for kind in kinds) + "   ms, one core")
    for name in options.of.split(","):
        network = open_network(name)
        runtime = OpenVinoRuntime(convert(network))
        found = [precision(runtime, network, database, queries, kind) for kind in kinds]
        print(f"{name:34}" + "".join(f"{value:9.3f}" for value in found) + f"{milliseconds(runtime, network):9.1f}")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="DIR/CLASS/FILE or DIR/SPLIT/CLASS/FILE")
    parser.add_argument(
        "--of",
        default=",".join(f"efficientnet_lite0:{cut}" for cut in (*CUTS, "stretch+square-7/8")),
        help=f"checkpoints, or BACKBONE:CUT with a cut of {', '.join(CUTS)}, or stretch+CUT for the mean of both",
    )
    parser.add_argument("--split", default="test", help="split of the queries, if there are splits")
    parser.add_argument("--queries", type=int, default=1000, help="number of queries to draw, without splits")
    parser.add_argument("--half", type=int, choices=(0, 1), help="only every second query, from this one on")
    parser.add_argument("--database", type=int, help="at most this many images to search, drawn at random")
    return parser.parse_args()


def split(folder: Path, name: str, count: int, half: int | None) -> tuple[LabelledFiles, LabelledFiles]:
    """Return the files to search and the queries."""
    splits = read_splits(folder)
    if name in splits:
        database, queries = splits["train"], splits[name]
    else:
        drawn = np.random.default_rng(0).permutation(len(splits["train"]))
        queries, database = splits["train"].subset(drawn[:count]), splits["train"].subset(np.sort(drawn[count:]))
    if half is not None:
        queries = queries.subset(np.arange(half, len(queries), 2))
    return database, queries


def open_network(name: str) -> LatentHashNet:
    """Open a checkpoint, or a backbone with ImageNet weights and a cut; F7 has unit length."""
    backbone, _, cut = name.partition(":")
    if not cut:
        network, _ = load(name)
    else:
        first, _, second = cut.rpartition("+")
        known: dict[str, Cut] = {name: name for name in CUTS}
        preprocess = new_preprocess(backbone, BACKBONES[backbone].preprocess.size, known[second])
        if first:
            preprocess = replace(preprocess, fit="stretch+crop")
        network = LatentHashNet(backbone, 8, 0, preprocess)
        network.load_imagenet()
    network.feature_norm = "unit"
    return network.eval()


def precision(
    runtime: OpenVinoRuntime,
    network: LatentHashNet,
    database: LabelledFiles,
    queries: LabelledFiles,
    background: Background | None,
) -> float:
    """Return the mean precision@10 of the queries."""
    searched = features(runtime, network, database, background, 0)
    asked = features(runtime, network, queries, background, len(database))
    found = [
        precision_at(database.labels[rank(distances)[:K]] == label, K)
        for distances, label in zip(squared_distances(asked, searched, "unit"), queries.labels, strict=True)
    ]
    return float(np.mean(found))


def features(
    runtime: OpenVinoRuntime, network: LatentHashNet, files: LabelledFiles, background: Background | None, seed: int
) -> Floats:
    """Return F7 `(n, d)` of files."""

    def prepared(position: int) -> NDArray[np.uint8]:
        image = open_rgb(files.paths[position], files.read, network.preprocess.colour)
        return network.preprocess(off_centre(image, background, seed + position) if background else image)

    def encoded(first: int) -> Floats:
        batch = np.stack([prepared(at) for at in range(first, min(first + BATCH, len(files)))])
        return runtime.on_one_core(batch)[1]

    with ThreadPoolExecutor(runtime.parallel_batches) as cores:
        return np.concatenate(list(cores.map(encoded, range(0, len(files), BATCH))))


def milliseconds(runtime: OpenVinoRuntime, network: LatentHashNet) -> float:
    """Return the median time of encoding one image on one core."""
    image = network.preprocess(Image.new("RGB", (640, 480), "grey"))[None]
    return 1000 * float(np.median([timed(runtime, image) for _ in range(TIMED)]))


def timed(runtime: OpenVinoRuntime, images: NDArray[np.uint8]) -> float:
    """Return the seconds of one call."""
    begun = time.perf_counter()
    runtime.on_one_core(images)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
