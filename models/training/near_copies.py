"""Which images show one product, where no table says it: near-copies by frozen F7, connected.

A seller photographs a product several times, and shops list it in several sizes. Held out one by one, such images
measure what the network remembers: it has seen the product. So near-copies stay on one side of the split.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import LabelledFiles, Splits
from models.data.folders import TRAIN, VALIDATION
from models.data.held_out import HELD_OUT
from models.errors import DatasetError
from models.evaluation.encode_files import encode_files, prepare_for_inference
from models.network.codes import Floats, unit_length
from models.network.latent_hash_net import LatentHashNet
from models.network.registry import new_preprocess
from models.training.devices import from_rank_zero
from models.training.requirements import RunFiles

Positions = NDArray[np.int64]
Note = Callable[[str], None]

# The network that compares images, whatever is trained: the quantile below was measured for it.
BACKBONE, SIZE = "efficientnet_lite0", 128
# Share of images that may look as much like an image of another class as near-copies look like each other.
EXCEEDING = 0.1
# The largest group, as a share of its class: a larger one could not be held out.
MAX_SHARE = HELD_OUT
# A group that is too large is divided by a threshold this much nearer to 1, until 1 is as good as reached.
_STEP, _EQUAL = 0.2, 0.9999
_BLOCK = 512
# Images that the threshold is measured on, and images of a class that are compared with each other.
_SAMPLE, _CHUNK = 2000, 10_000


def with_products(splits: Splits, files: RunFiles, report: Callable[[int, int], None], note: Note) -> Splits:
    """Return the splits with the products of the images to hold a share out of, unless a split is held out already.

    Args:
        splits: labelled files by split, with products if a table has them.
        files: those of the run; an interrupted one has the products that it started with.
        report: called with the number of images compared, and of all.
        note: called with what was found.

    Raises:
        DatasetError: no image is readable.
        WeightsUnavailableError: the ImageNet weights of the network that compares them are not installed.
    """
    training = splits[TRAIN]
    # One class is an error of its own, when the images are read.
    if VALIDATION in splits or len(training.classes) <= 1:
        return splits
    if training.products is not None:
        if len(np.unique(training.products)) < len(training):
            return splits
        note("Every image is of another product, by the column of products. Near-copies are kept together instead.")
    products = from_rank_zero(lambda: _remembered(files, training))
    if products is None:
        products = from_rank_zero(lambda: _find(training, files, report))
    note(_described(products))
    return {**splits, TRAIN: replace(training, products=products)}


def find_near_copies(features: Floats, labels: Positions) -> Positions:
    """Return the group of near-copies of each image, `(n,)`: the position of the group's first image.

    Images of different classes show different products. So the threshold is the cosine that one in ten images exceeds
    with an image of another class: what is more alike within a class is probably one product. Groups are connected
    components; one that is larger than what is held out is divided by a higher threshold.

    Args:
        features: raw F7 `(n, d)`.
        labels: `(n,)`.
    """
    rows = unit_length(features)
    threshold = cosine_threshold(rows, labels)
    groups = np.arange(len(rows))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        largest = max(round(MAX_SHARE * len(members)), 2)
        for first in range(0, len(members), _CHUNK):
            _group(rows, members[first : first + _CHUNK], threshold, largest, groups)
    return groups


def cosine_threshold(rows: Floats, labels: Positions) -> float:
    """Return the cosine that a share of `EXCEEDING` of the images exceeds with an image of another class.

    Args:
        rows: F7 `(n, d)` of unit length.
        labels: `(n,)`, of two classes or more.
    """
    sample = np.random.default_rng(0).permutation(len(rows))[:_SAMPLE]
    nearest = []
    for first in range(0, len(sample), _BLOCK):
        some = sample[first : first + _BLOCK]
        cosines = rows[some] @ rows.T
        cosines[labels[some][:, None] == labels[None, :]] = -1
        nearest.append(cosines.max(axis=1))
    return float(np.quantile(np.concatenate(nearest), 1 - EXCEEDING))


def connected(rows: Floats, threshold: float) -> Positions:
    """Return the component of each of the rows `(n, d)`, `(n,)`: those whose cosine is above a threshold are connected.

    A component's number is the position of its first row.
    """
    count = len(rows)
    near = np.empty((count, count), bool)
    for first in range(0, count, _BLOCK):
        near[first : first + _BLOCK] = rows[first : first + _BLOCK] @ rows.T > threshold
    found = np.full(count, -1, np.int64)
    for at in range(count):
        frontier = np.array([at]) if found[at] < 0 else np.zeros(0, np.int64)
        while len(frontier):
            found[frontier] = at
            frontier = np.flatnonzero(near[frontier].any(axis=0) & (found < 0))
    return found


def _group(rows: Floats, members: Positions, threshold: float, largest: int, groups: Positions) -> None:
    components = connected(rows[members], threshold)
    for component in np.unique(components):
        some = members[components == component]
        if len(some) <= largest:
            groups[some] = some[0]
        elif threshold < _EQUAL:
            _group(rows, some, threshold + _STEP * (1 - threshold), largest, groups)
        # Otherwise all of them are equal, and remain groups of one: they cannot be told apart.


def _described(groups: Positions) -> str:
    _, counts = np.unique(groups, return_counts=True)
    several = counts[counts > 1]
    return (
        f"{several.sum():,} of {len(groups):,} images are near-copies of others, in {len(several):,} groups. Each "
        "group is either trained on or held out."
    )


def _find(files: LabelledFiles, run: RunFiles, report: Callable[[int, int], None]) -> Positions:
    network = LatentHashNet(BACKBONE, 8, 0, new_preprocess(BACKBONE, SIZE, "stretch"))
    network.load_imagenet()
    encoded = encode_files(files, prepare_for_inference(network), None, report)
    position = {path: at for at, path in enumerate(files.paths)}
    rows = np.array([position[path] for path in encoded.paths])
    products = np.arange(len(files))
    if len(np.unique(encoded.labels)) > 1:
        products[rows] = rows[find_near_copies(encoded.features, encoded.labels)]
    _remember(products, files, run)
    return products


def _remember(products: Positions, files: LabelledFiles, run: RunFiles) -> None:
    temporary = run.products.with_suffix(".tmp")
    try:
        run.products.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"files": files.checksum(), "products": products.tolist()}))
        temporary.replace(run.products)
    except OSError as error:
        raise DatasetError(f"{run.products} cannot be written: {error}. Free space, or change --out.") from error


def _remembered(run: RunFiles, files: LabelledFiles) -> Positions | None:
    """Return what an interrupted run found for the same files."""
    try:
        about = json.loads(run.products.read_text())
        same = about["files"] == files.checksum() and len(about["products"]) == len(files)
        return np.array(about["products"], np.int64) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
