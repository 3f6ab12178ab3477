"""Calibrate a checkpoint's similarity (`similarity.py`) on images that it was not trained on, with or without labels.

Run it as `lookalike calibrate CHECKPOINT DIR`. Codes, F7 and the fingerprint stay as they are.
"""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.checkpoint.files import load
from models.checkpoint.info import find_checkpoint, write_info
from models.checkpoint.similarity import RowPairs, Similarity, calibrate
from models.data.dataset import LabelledFiles, LoadedImages, load_images, read_splits, read_unlabelled
from models.data.folders import TEST, TRAIN
from models.errors import DatasetError
from models.network.encode import Encode, encoder
from models.network.latent_hash_net import LatentHashNet

# More images or pairs than these change little.
_MAX_IMAGES, _MAX_EDITED, _MAX_PAIRS = 2000, 400, 50_000


def calibrate_checkpoint(
    checkpoint: str | Path, folder: Path, *, labelled: bool = True, note: Callable[[str], None] = lambda _note: None
) -> Similarity:
    """Calibrate a checkpoint and write the result into its JSON.

    Args:
        checkpoint: the name of a pretrained one, or a path.
        folder: `DIR/test/CLASS/FILE` or `DIR/CLASS/FILE`, not the training data; without labels any images.
        labelled: whether folders are labels, so that images of two folders are of different kinds.
        note: called with a message for what is left out of the folder.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DatasetError: the folder cannot be used.
    """
    network, info = load(checkpoint)
    if labelled:
        splits = read_splits(folder)
        files = splits[TRAIN]
        found = calibrate_on_files(network, splits.get(TEST, files), labelled=True)
    else:
        files = read_unlabelled(folder, _MAX_IMAGES, 0)
        found = calibrate_on_files(network, files, labelled=False)
    for line in files.notes:
        note(line)
    if found is None:
        needed = "two images of one label and images of another label" if labelled else "images that differ"
        raise DatasetError(f"{folder} needs {needed}.")
    write_info(replace(info, similarity=found), find_checkpoint(checkpoint))
    return found


def calibrate_on_files(network: LatentHashNet, files: LabelledFiles, *, labelled: bool) -> Similarity | None:
    """Calibrate a network on files; None if they are too few or too similar."""
    sample = files.subset(np.random.default_rng(0).permutation(len(files))[:_MAX_IMAGES])
    loaded = load_images(sample, network.preprocess)
    count = len(loaded.labels)
    return calibrate_on_images(encoder(network, count + 4 * min(count, _MAX_EDITED)), loaded, labelled=labelled)


def calibrate_on_images(run: Encode, loaded: LoadedImages, *, labelled: bool = True) -> Similarity | None:
    """Calibrate a network on preprocessed images in memory; None if they are too few or too similar.

    With labels, two images of one label are of one kind and look, and those of two labels of different kinds. Without,
    any two images are taken to be of different kinds, since in most collections most of them are.
    """
    count = len(loaded.labels)
    edited = loaded.images[:_MAX_EDITED]
    edits = [np.stack([edit(image) for image in edited]) for edit in (_recompressed, _halved, _mirrored, _cut)]
    codes, features = run(np.concatenate([loaded.images, *edits]))
    recompressed, halved, mirrored, cut = (
        np.stack([np.arange(len(edited)), count + at * len(edited) + np.arange(len(edited))], axis=1)
        for at in range(len(edits))
    )
    rng = np.random.default_rng(0)
    kinds = loaded.labels if labelled else np.arange(count)
    return calibrate(
        codes,
        features,
        copies=np.concatenate([recompressed, halved]),
        near=np.concatenate([mirrored, cut]),
        alike=pairs_within(kinds, rng),
        others=pairs_between(kinds, rng),
        pairs="one label" if labelled else "no labels",
    )


def pairs_within(groups: NDArray[np.int64], rng: np.random.Generator) -> RowPairs:
    """Draw pairs `(n, 2)` of different images of one group."""
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    eligible = np.flatnonzero(np.repeat(sizes, sizes) > 1)
    if not len(eligible):
        return np.zeros((0, 2), np.int64)
    first = rng.choice(eligible, min(_MAX_PAIRS, 25 * len(groups)))
    group = np.searchsorted(starts, first, side="right") - 1
    # Another member of the group: 1 to size - 1 positions further on, wrapping around.
    step = 1 + (rng.random(len(first)) * (sizes[group] - 1)).astype(np.int64)
    second = starts[group] + (first - starts[group] + step) % sizes[group]
    return np.stack([order[first], order[second]], axis=1)


def pairs_between(groups: NDArray[np.int64], rng: np.random.Generator) -> RowPairs:
    """Draw pairs `(n, 2)` of images of two groups."""
    drawn = rng.integers(len(groups), size=(2 * min(_MAX_PAIRS, 25 * len(groups)), 2))
    between: RowPairs = drawn[groups[drawn[:, 0]] != groups[drawn[:, 1]]]
    return between[: len(drawn) // 2]


def _recompressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    saved = BytesIO()
    Image.fromarray(image).save(saved, "JPEG", quality=75)
    return np.asarray(Image.open(saved))


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an image to half its size, and back as the network's preprocessing does; then compress it."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((max(width // 2, 1), max(height // 2, 1)), Image.Resampling.LANCZOS)
    return np.asarray(Image.fromarray(_recompressed(np.asarray(small))).resize((width, height)))


def _mirrored(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.mirror(Image.fromarray(image)))


def _cut(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a fifth of an image off, and scale the rest to its size; views below each other are cut alike."""
    size = image.shape[1]
    left, right = (round(share * size) for share in (0.15, 0.05))
    views = (Image.fromarray(view) for view in image.reshape(-1, size, size, 3))
    box = (left, left, size - right, size - right)
    return np.concatenate([np.asarray(view.resize((size, size), box=box)) for view in views])
