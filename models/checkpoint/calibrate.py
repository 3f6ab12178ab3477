"""What a network's distances mean (`similarity.py`), found out on pictures of labels or, without, on views of pictures.

Run it as `lookalike calibrate CHECKPOINT DIR`. Codes and F7 stay as they are, and so does the fingerprint.
"""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.checkpoint.files import load
from models.checkpoint.info import find, write_info
from models.checkpoint.similarity import Similarity, calibrate
from models.data.augment import augment
from models.data.dataset import TEST, TRAIN, LabelledFiles, Loaded, load_pictures, read_splits, read_unlabelled
from models.errors import DatasetError
from models.network.codes import Floats
from models.network.encode import BATCH, Encode, encoder
from models.network.latent_hash_net import LatentHashNet

# More pictures than this change little. Those whose views are taken are read a little larger, to cut from.
_MOST, _LARGER = 2000, 1.25


def recalibrate(checkpoint: str | Path, folder: Path, *, views: bool = False) -> Similarity:
    """Calibrates a checkpoint and writes the result into its JSON.

    Args:
        checkpoint: the name of one that ships, or a path.
        folder: `DIR/test/CLASS/FILE` or `DIR/CLASS/FILE`, not what it was trained on; with `views` any pictures.
        views: whether two views of one picture belong together, rather than two pictures of one label.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        DatasetError: the folder cannot be used.
    """
    network, info = load(checkpoint)
    if views:
        found = on_views(network, read_unlabelled(folder, _MOST, 0))
    else:
        splits = read_splits(folder)
        found = on_labels(network, splits.get(TEST, splits[TRAIN]))
    if found is None:
        raise DatasetError(f"{folder} holds no two pictures that belong together, or none that do not.")
    write_info(replace(info, similarity=found), find(checkpoint))
    return found


def on_labels(network: LatentHashNet, files: LabelledFiles) -> Similarity | None:
    """Calibrates a network: two pictures of one label belong together."""
    loaded = load_pictures(_some(files), network.preprocess)
    return on_loaded(encoder(network, 2 * len(loaded.labels)), loaded)


def on_loaded(run: Encode, loaded: Loaded) -> Similarity | None:
    """Calibrates a network on pictures in memory, of the size that it reads: those of one label belong together."""
    codes, features = run(loaded.pictures)
    return calibrate(codes, features, loaded.labels, "one label", _of_copies(run, loaded.pictures, features))


def on_views(network: LatentHashNet, files: LabelledFiles) -> Similarity | None:
    """Calibrates a network without labels: a picture and a cut of it in other light belong together."""
    size = network.preprocess.size
    whole = load_pictures(_some(files), replace(network.preprocess, size=round(size * _LARGER)))
    generator = torch.Generator().manual_seed(0)
    views = [
        augment(torch.from_numpy(whole.pictures[first : first + BATCH]), size, generator)
        for first in range(0, len(whole.labels), BATCH)
    ]
    same = whole.resized(size).pictures
    pictures = np.concatenate([same, torch.cat(views).round().to(torch.uint8).numpy()])
    run = encoder(network, len(pictures))
    codes, features = run(pictures)
    copies = _of_copies(run, same, features[: len(same)])
    return calibrate(codes, features, np.tile(np.arange(len(same)), 2), "two views", copies)


def _of_copies(run: Encode, pictures: NDArray[np.uint8], features: Floats) -> float:
    """Returns how far apart pictures `(n, size, size, 3)` and copies of them are, but for the farthest twentieth."""
    _, copied = run(np.stack([_saved_anew(picture) for picture in pictures]))
    return float(np.percentile(np.linalg.norm(copied - features, axis=1), 95))


def _saved_anew(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    saved = BytesIO()
    Image.fromarray(picture).save(saved, "JPEG", quality=75)
    return np.asarray(Image.open(saved))


def _some(files: LabelledFiles) -> LabelledFiles:
    return files.subset(np.random.default_rng(0).permutation(len(files))[:_MOST])
