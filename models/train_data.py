"""What training learns from: pictures in memory, what is held out to judge by, and batches of random cuts."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from models.augment import augment
from models.backbones import BACKBONES
from models.dataset import (
    HELD_OUT,
    TRAIN,
    VALIDATION,
    LabelledFiles,
    Loaded,
    Splits,
    hold_out,
    load_pictures,
    read_splits,
)
from models.errors import DatasetError
from models.recipe import Recipe


@dataclass(frozen=True)
class Data:
    """What to train on and what to judge by, in memory, and what the person should know of it."""

    classes: tuple[str, ...]
    training: Loaded
    held_out: Loaded
    notes: tuple[str, ...]

    def identity(self) -> dict[str, Any]:
        """Tells this data from other data: the classes, how many pictures, and a checksum of them."""
        pictures = (self.training.pictures, self.held_out.pictures)
        checksum = [zlib.crc32(np.ascontiguousarray(some).data) for some in pictures]
        return {"classes": list(self.classes), "pictures": [len(some) for some in pictures], "checksum": checksum}


def read(source: Path | Splits, recipe: Recipe) -> Data:
    """Decodes the pictures: `validation` is held out where there is one, else a tenth of `train`.

    Raises:
        DatasetError: there is nothing to learn from.
    """
    splits, name = (read_splits(source), source) if isinstance(source, Path) else (source, "This data set")
    files = splits[TRAIN]
    if len(files.classes) == 1:
        raise DatasetError(f"{name} has one class, {files.classes[0]}; learning to tell apart wants two or more.")
    training, held_out = (files, splits[VALIDATION]) if VALIDATION in splits else hold_out(files, HELD_OUT, recipe.seed)
    if not len(held_out):
        raise DatasetError(f"{name} has one picture of each class; training wants another of each to judge by.")
    # Training pictures come a little larger than the network reads, to cut from.
    preprocess = BACKBONES[recipe.backbone].preprocess
    loaded = load_pictures(training, replace(preprocess, size=round(recipe.cut * 1.25)))
    judges = load_pictures(held_out, replace(preprocess, size=recipe.size))
    return Data(files.classes, loaded, judges, notes(files, (*loaded.unreadable, *judges.unreadable)))


def notes(files: LabelledFiles, unreadable: tuple[Path, ...]) -> tuple[str, ...]:
    """Says what a person should know of their data before they trust the result."""
    counts = np.bincount(files.labels, minlength=len(files.classes))
    single = [name for name, count in zip(files.classes, counts, strict=True) if count == 1]
    found = [f"{path} cannot be read as a picture and is left out." for path in unreadable]
    if single:
        found.append(f"Only one picture, so none to judge by: {', '.join(single)}.")
    return tuple(found)


def seed_of(recipe: Recipe, epoch: int) -> int:
    """Returns where an epoch's randomness starts, whatever came before it."""
    return recipe.seed * 100_003 + epoch


def batches(loaded: Loaded, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields this process's share of batches, pictures `(b, size, size, 3)` and labels `(b,)`, all equally long."""
    generator = torch.Generator().manual_seed(seed_of(recipe, epoch))
    order = torch.randperm(len(loaded.labels), generator=generator).numpy()
    whole = max(len(order) // recipe.batch * recipe.batch, min(len(order), recipe.batch))
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    for first in range(0, whole, recipe.batch):
        chosen = order[first : first + recipe.batch]
        pictures = torch.from_numpy(loaded.pictures[chosen])
        cuts = augment(pictures, recipe.cut, generator, recipe.least_area, mirror=recipe.mirror)
        yield cuts[rank::world], torch.from_numpy(loaded.labels[chosen])[rank::world]
