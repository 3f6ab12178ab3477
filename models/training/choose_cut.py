"""Choose how the proportions of images are kept, on a data set.

A network sees best what fills its input. Objects in the middle fill more of it if the edges are cut off; what lies at
the edge is lost. So cuts are compared on the data: frozen F7 of each, leave-one-out precision@10 (Lin et al. 2015,
eq. 1).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import LabelledFiles, Splits, load_images, read_splits
from models.data.folders import TRAIN, VALIDATION
from models.data.held_out import HELD_OUT, split_files
from models.data.shards import shards_in
from models.evaluation.metrics import precision_at, rank, squared_distances
from models.network.codes import Floats
from models.network.cuts import CUTS, DEFAULT_CUT, Cut, with_cut
from models.network.encode import encoder
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess
from models.network.registry import is_from_library
from models.training.config import TrainingConfig
from models.training.devices import from_rank_zero
from models.training.start import initial_network
from models.training.state import settled_preprocess

# Images to compare on, at least and at most, and neighbours that count.
MIN_SAMPLE, MAX_SAMPLE, NEIGHBOURS = 100, 1000, 10


def choose_cut(
    files: LabelledFiles, network: LatentHashNet, note: Callable[[str], None], default: Cut = DEFAULT_CUT
) -> Cut:
    """Choose the cut with the best precision@10 of a network's F7 on a sample.

    The default stays unless another cut is better by more than the standard error of the difference, or if there are
    too few images to tell.

    Args:
        files: labelled images, of which no later measurement uses one as a query.
        network: with the weights to start from; its preprocessing gives size and colours.
        note: called with the figures.
        default: the default.

    Raises:
        DatasetError: no file is readable.
    """
    if len(files) < MIN_SAMPLE:
        return default
    sample = files.subset(np.random.default_rng(0).permutation(len(files))[:MAX_SAMPLE])
    found = {cut: leave_one_out(sample, network, with_cut(network.preprocess, cut)) for cut in CUTS}
    best = default
    for cut in CUTS:
        gain = found[cut] - found[best]
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best = cut
    figures = ", ".join(f"{cut} {precisions.mean():.3f}" for cut, precisions in found.items())
    note(f"Images are cut as {best}. Precision@10 of F7 before training, on {len(found[best]):,} images: {figures}.")
    return best


def settle_cut(
    source: Path | Splits, recipe: TrainingConfig, unfinished: Path, note: Callable[[str], None]
) -> TrainingConfig:
    """Decide how images are cut: as in the interrupted run, as the user chose, or as is best on the training images.

    A library's backbone has the cut that its library publishes. Shards, whose images are not at hand as files, have the
    default, and so do networks that start at random: there is no F7 to compare yet.
    """
    if recipe.image_cut is not None:
        return recipe
    if unfinished.exists():
        return replace(recipe, **settled_preprocess(unfinished))
    if is_from_library(recipe.backbone):
        return recipe
    if recipe.from_scratch:
        return replace(recipe, image_cut="stretch")
    if isinstance(source, Path) and shards_in(source):
        return replace(recipe, image_cut=DEFAULT_CUT)
    splits = read_splits(source) if isinstance(source, Path) else source
    files = splits[TRAIN] if VALIDATION in splits else split_files(splits[TRAIN], HELD_OUT, recipe.seed)[0]
    return replace(recipe, image_cut=from_rank_zero(lambda: choose_cut(files, initial_network(recipe, ()), note)))


def leave_one_out(files: LabelledFiles, network: LatentHashNet, preprocess: Preprocess) -> NDArray[np.float64]:
    """Return precision@10 `(n,)` of each readable image as a query among the others, by F7 of unit length."""
    loaded = load_images(files, preprocess)
    reading = network.with_preprocess(preprocess)
    reading.feature_norm = "unit"
    _, features = encoder(reading, len(loaded.labels))(loaded.images)
    return _precisions(features, loaded.labels)


def _precisions(features: Floats, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    found = []
    for at, distances in enumerate(squared_distances(features, features, "unit")):
        distances[at] = np.inf  # an image is not its own neighbour
        found.append(precision_at(labels[rank(distances)[:NEIGHBOURS]] == labels[at], NEIGHBOURS))
    return np.array(found)
