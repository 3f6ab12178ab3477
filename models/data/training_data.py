"""What training learns from: images in memory or in archives, what is held out, and batches of random cuts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.augment import apply_augmentations, draw_augmentations
from models.data.dataset import (
    HELD_OUT,
    TRAIN,
    VALIDATION,
    Batch,
    LabelledFiles,
    LoadedImages,
    Splits,
    load_images,
    read_splits,
    split_files,
    split_indices,
)
from models.data.shard_index import read_index
from models.data.shards import Shards, read_class_names, shards_in
from models.errors import DatasetError, RecipeError
from models.network.backbones import BACKBONES
from models.training.config import Recipe
from models.training.devices import rank_and_world_size, rank_zero_first


class ImageSource(Protocol):
    """What an epoch passes over: `LoadedImages` in memory, `Shards` in archives."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """One an image, `(n,)`."""
        ...

    @property
    def replaced(self) -> int:
        """How many turned out on the way to be no images, so that others stood in for them."""
        ...

    def checksum(self) -> int:
        """Tells these images from others."""
        ...

    def order(self, seed: int) -> NDArray[np.int64]:
        """Draw an order of all images, `(n,)`."""
        ...

    def stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yield lists of images by their positions."""
        ...

    def sample(self, count: int, seed: int) -> LoadedImages:
        """Return so many of the images in memory, or all, chosen at random."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """What to train on and what to judge by, and what the person should know of it.

    Attributes:
        classes: names, in the order of the labels.
        training: what is learnt from.
        held_out: what is not.
        warnings: problems in the data that the user should know of.
        files: the checksum of the files that a share was held out of; None where it was not so.
    """

    classes: tuple[str, ...]
    training: ImageSource
    held_out: LoadedImages
    warnings: tuple[str, ...]
    files: int | None = None

    def identity(self) -> dict[str, Any]:
        """Tells this data from other data: the classes, how many images, and a checksum of them."""
        parts = (self.training, self.held_out)
        return {
            "classes": list(self.classes),
            "pictures": [len(some.labels) for some in parts],
            "checksum": [some.checksum() for some in parts],
        }


def read(source: Path | Splits, recipe: Recipe) -> TrainingData:
    """Read what to learn from: `validation` is held out where there is one, else a tenth of `train`.

    Raises:
        DatasetError: there is nothing to learn from.
    """
    if isinstance(source, Path) and shards_in(source):
        return read_shards(source, recipe)
    splits, name = (read_splits(source), source) if isinstance(source, Path) else (source, "This data set")
    files = splits[TRAIN]
    if len(files.classes) == 1:
        raise DatasetError(f"{name} has one class, {files.classes[0]}; learning to tell apart wants two or more.")
    training, held_out = (
        (files, splits[VALIDATION]) if VALIDATION in splits else split_files(files, HELD_OUT, recipe.seed)
    )
    if not len(held_out):
        raise DatasetError(f"{name} has one image of each class; training wants another of each to judge by.")
    # Training images come a little larger than the network reads, to cut from.
    preprocess = BACKBONES[recipe.backbone].preprocess
    loaded = load_images(training, replace(preprocess, size=round(recipe.cut * 1.25)))
    judges = load_images(held_out, replace(preprocess, size=recipe.size))
    told = warnings(files, (*loaded.unreadable, *judges.unreadable))
    return TrainingData(files.classes, loaded, judges, told, None if VALIDATION in splits else files.checksum())


def read_shards(folder: Path, recipe: Recipe) -> TrainingData:
    """Find out what a folder of archives holds; only what is held out is read into memory.

    Raises:
        DatasetError: there is nothing to learn from.
    """
    apart = shards_in(folder, VALIDATION)
    index, judged = rank_zero_first(lambda: (read_index(shards_in(folder)), read_index(apart) if apart else None))
    classes = read_class_names(folder, max(int(some.labels.max()) for some in (index, judged) if some))
    if len(classes) == 1:
        raise DatasetError(f"{folder} has one class, {classes[0]}; learning to tell apart wants two or more.")
    preprocess = BACKBONES[recipe.backbone].preprocess
    training = Shards(index, replace(preprocess, size=round(recipe.cut * 1.25)))
    judges = Shards(index, replace(preprocess, size=recipe.size))
    if judged is not None:
        judges = Shards(judged, judges.prepare)
    else:
        rest, held = split_indices(index.labels, HELD_OUT, recipe.seed)
        training, judges = training.subset(rest), judges.subset(held)
    if not len(judges.labels):
        raise DatasetError(f"{folder} has one image of each class; training wants another of each to judge by.")
    return TrainingData(classes, training, judges.loaded(), training.warnings(len(classes)))


def warnings(files: LabelledFiles, unreadable: tuple[Path, ...]) -> tuple[str, ...]:
    """Says what a person should know of their data before they trust the result."""
    counts = np.bincount(files.labels, minlength=len(files.classes))
    single = [name for name, count in zip(files.classes, counts, strict=True) if count == 1]
    found = [f"{path} cannot be read as an image and is left out." for path in unreadable]
    if single:
        found.append(f"Only one image, so none to judge by: {', '.join(single)}.")
    return tuple(found)


def step_seed(recipe: Recipe, epoch: int, step: int = 0) -> int:
    """Return where the randomness of an epoch, or of its `step`th step, starts, whatever came before it."""
    return ((recipe.seed * 100_003 + epoch) * 1_000_003 + step) % 2**63


def batches(images: ImageSource, recipe: Recipe, epoch: int, begin: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's share of an epoch's batches, from the `begin`th on, all equally long.

    What a batch holds, and how it is cut, depends on the seed alone, and not on how many processes share it.

    Yields:
        images `(b, size, size, 3)` float32 and labels `(b,)` int64.

    Raises:
        RecipeError: a batch cannot be divided among the processes.
    """
    rank, world = rank_and_world_size()
    if recipe.batch % world or len(images.labels) < world:
        raise RecipeError(
            f"A batch of {recipe.batch} out of {len(images.labels):,} images cannot be divided among {world} "
            "processes. Choose another --batch-size, or fewer processes."
        )
    order = images.order(step_seed(recipe, epoch))
    length = min(recipe.batch, len(order) // world * world)
    firsts = range(begin * length, len(order) // length * length, length)
    shares = (order[first : first + length][rank::world] for first in firsts)
    for step, (found, labels) in enumerate(images.stream(shares), begin + 1):
        generator = torch.Generator().manual_seed(step_seed(recipe, epoch, step))
        views = draw_augmentations(length, generator, recipe.least_area, hflip=recipe.mirror).share(rank, world)
        yield apply_augmentations(torch.from_numpy(found), recipe.cut, views), torch.from_numpy(labels)
