"""Calibrate a checkpoint's similarity (`similarity.py`) on labelled images, or on augmented views of unlabelled ones.

Run it as `lookalike calibrate CHECKPOINT DIR`. Codes, F7 and the fingerprint stay as they are.
"""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.checkpoint.files import load
from models.checkpoint.info import find_checkpoint, write_info
from models.checkpoint.similarity import Similarity, calibrate
from models.data.augment import augment
from models.data.dataset import LabelledFiles, LoadedImages, load_images, read_splits, read_unlabelled
from models.data.folders import TEST, TRAIN
from models.errors import DatasetError
from models.network.codes import Codes, Floats
from models.network.encode import BATCH, Encode, encoder
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Fit

# More images than this change little. Images for views are decoded a little larger, as a margin for cropping.
_MAX_IMAGES, _UPSCALE = 2000, 1.25


def calibrate_checkpoint(
    checkpoint: str | Path, folder: Path, *, views: bool = False, note: Callable[[str], None] = lambda _note: None
) -> Similarity:
    """Calibrate a checkpoint and write the result into its JSON.

    Args:
        checkpoint: the name of a pretrained one, or a path.
        folder: `DIR/test/CLASS/FILE` or `DIR/CLASS/FILE`, not the training data; with `views` any images.
        views: two views of one image are a positive pair, instead of two images of one label.
        note: called with a message for what is left out of the folder.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DatasetError: the folder cannot be used.
    """
    network, info = load(checkpoint)
    if views:
        files = read_unlabelled(folder, _MAX_IMAGES, 0)
        found = calibrate_on_views(network, files)
    else:
        splits = read_splits(folder)
        files = splits[TRAIN]
        found = calibrate_on_labels(network, splits.get(TEST, files))
    for line in files.notes:
        note(line)
    if found is None:
        raise DatasetError(f"{folder} needs two images of one label and images of another label.")
    write_info(replace(info, similarity=found), find_checkpoint(checkpoint))
    return found


def calibrate_on_labels(network: LatentHashNet, files: LabelledFiles) -> Similarity | None:
    """Calibrate a network on labelled files; two images of one label are a positive pair."""
    loaded = load_images(_sample(files), network.preprocess)
    return calibrate_on_images(encoder(network, 2 * len(loaded.labels)), loaded)


def calibrate_on_images(run: Encode, loaded: LoadedImages) -> Similarity | None:
    """Calibrate a network on preprocessed images in memory; two images of one label are a positive pair."""
    codes, features = run(loaded.images)
    return calibrate(codes, features, loaded.labels, "one label", _copy_distance(run, loaded.images, features))


def calibrate_on_views(network: LatentHashNet, files: LabelledFiles) -> Similarity | None:
    """Calibrate a network without labels; an image and an augmented view of it are a positive pair.

    A network that averages over a whole and a cut view of an image is given the cut one twice.
    """
    size, views_of_an_image = network.preprocess.size, network.preprocess.views
    fit: Fit = "crop" if views_of_an_image > 1 else network.preprocess.fit
    whole = load_images(_sample(files), replace(network.preprocess, fit=fit, size=round(size * _UPSCALE)))
    generator = torch.Generator().manual_seed(0)
    views = [
        augment(torch.from_numpy(whole.images[first : first + BATCH]), size, generator)
        for first in range(0, len(whole.labels), BATCH)
    ]
    same = whole.resized(size).images
    images = np.concatenate([same, torch.cat(views).round().to(torch.uint8).numpy()])
    encode = encoder(network, len(images))

    def run(some: NDArray[np.uint8]) -> tuple[Codes, Floats]:
        return encode(np.concatenate([some] * views_of_an_image, axis=1))

    codes, features = run(images)
    copies = _copy_distance(run, same, features[: len(same)])
    return calibrate(codes, features, np.tile(np.arange(len(same)), 2), "two views", copies)


def _copy_distance(run: Encode, images: NDArray[np.uint8], features: Floats) -> float:
    """Return the 95th percentile of the F7 distance between images `(n, size, size, 3)` and JPEG copies of them."""
    _, copied = run(np.stack([_recompressed(image) for image in images]))
    return float(np.percentile(np.linalg.norm(copied - features, axis=1), 95))


def _recompressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    saved = BytesIO()
    Image.fromarray(image).save(saved, "JPEG", quality=75)
    return np.asarray(Image.open(saved))


def _sample(files: LabelledFiles) -> LabelledFiles:
    return files.subset(np.random.default_rng(0).permutation(len(files))[:_MAX_IMAGES])
