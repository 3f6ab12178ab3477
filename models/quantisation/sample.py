"""Sample a folder of images to quantise a network on."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.data.dataset import LabelledFiles, LoadedImages, load_images, read_splits, read_unlabelled
from models.errors import DatasetError
from models.network.preprocess import Preprocess

# Calibration needs 300; the others are measured.
MAX_IMAGES = 2000


def load_sample(folder: Path, preprocess: Preprocess, report: Callable[[int, int], None]) -> LoadedImages:
    """Load a random sample of the images below a folder, as a network reads them.

    They have labels if the folder is `DIR/CLASS/FILE` or `DIR/SPLIT/CLASS/FILE`.

    Raises:
        DatasetError: the folder cannot be used.
    """
    files = _sample(folder)
    return load_images(files, preprocess, lambda done: report(done, len(files)))


def _sample(folder: Path) -> LabelledFiles:
    with suppress(DatasetError):
        splits = list(read_splits(folder).values())
        paths = tuple(path for split in splits for path in split.paths)
        files = replace(splits[0], paths=paths, labels=np.concatenate([split.labels for split in splits]))
        return files.subset(np.random.default_rng(0).permutation(len(paths))[:MAX_IMAGES])
    files = read_unlabelled(folder, MAX_IMAGES, 0)
    return replace(files, labels=np.full(len(files), -1, np.int64))
