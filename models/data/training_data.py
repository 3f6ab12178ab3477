"""Training data: images in memory or in shards, the held-out set, and augmented batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.augment import apply_augmentations, draw_augmentations
from models.data.dataset import Batch, LabelledFiles, LoadedImages, Splits, load_images, read_splits
from models.data.folders import TRAIN, VALIDATION, note_missing_classes
from models.data.held_out import HELD_OUT, single_product_classes, split_indices
from models.data.shard_index import read_index
from models.data.shards import Shards, read_class_names, shards_in
from models.errors import ConfigError, DatasetError
from models.network.preprocess import Preprocess
from models.network.registry import new_preprocess
from models.training.config import TrainingConfig
from models.training.devices import rank_and_world_size, rank_zero_first


class ImageSource(Protocol):
    """The images of an epoch: `LoadedImages` in memory, or `Shards` on disk."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels `(n,)`."""
        ...

    @property
    def replaced(self) -> int:
        """Number of unreadable images that others replaced."""
        ...

    def checksum(self) -> int:
        """Return a checksum that identifies these images."""
        ...

    def order(self, seed: int) -> NDArray[np.int64]:
        """Draw a random order of all images, `(n,)`."""
        ...

    def stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yield batches of images by lists of positions."""
        ...

    def sample(self, count: int, seed: int) -> LoadedImages:
        """Return a random sample of at most `count` images in memory."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """Training set, held-out set, and warnings about them.

    Attributes:
        classes: names of F8's units, in the order of the labels; with several columns of labels, all of them.
        training: images to train on.
        held_out: images to evaluate on.
        warnings: problems in the data, as messages for the user.
        files: checksum of the files that the held-out share was taken from; None with a validation split.
        held_out_files: positions of the held-out images in these files; None with a validation split.
        columns: the columns of labels if there are several: name and number of values.
    """

    classes: tuple[str, ...]
    training: ImageSource
    held_out: LoadedImages
    warnings: tuple[str, ...]
    files: int | None = None
    held_out_files: tuple[int, ...] | None = None
    columns: tuple[tuple[str, int], ...] = ()

    @property
    def column_sizes(self) -> tuple[int, ...]:
        """Number of values of each column of labels; empty for a single one."""
        return tuple(size for _, size in self.columns)

    @property
    def measured_classes(self) -> int:
        """Number of values of the first column, which is measured; its units in F8 come first."""
        return self.columns[0][1] if self.columns else len(self.classes)

    def identity(self) -> dict[str, Any]:
        """Return what identifies this data: classes, numbers of images, and checksums."""
        parts = (self.training, self.held_out)
        return {
            "classes": list(self.classes),
            "pictures": [len(some.labels) for some in parts],
            "checksum": [some.checksum() for some in parts],
        }


def read(source: Path | Splits, recipe: TrainingConfig, name: str = "This data set") -> TrainingData:
    """Read training data; `validation` is held out, or a tenth of `train` without such a split.

    Args:
        source: a folder, or files by split.
        recipe: the configuration.
        name: what errors call the files.

    Raises:
        DatasetError: the data cannot be trained on.
    """
    if isinstance(source, Path) and shards_in(source):
        return read_shards(source, recipe)
    splits, name = (read_splits(source), str(source)) if isinstance(source, Path) else (source, name)
    files = splits[TRAIN]
    if len(files.classes) == 1:
        raise DatasetError(f"{name} has one class, {files.classes[0]}. Training needs two or more.")
    held: NDArray[np.int64] | None = None
    if VALIDATION in splits:
        training, held_out = files, splits[VALIDATION]
    else:
        rest, held = split_indices(files.labels, HELD_OUT, recipe.seed, files.products)
        training, held_out = files.subset(rest), files.subset(held)
    if not len(held_out):
        raise DatasetError(f"{name} has one {_unit(files)} of each class. Training needs two or more, to hold one out.")
    # Training images are decoded slightly larger than the network's input, as a margin for cropping.
    loaded = load_images(training, input_at(recipe, round(recipe.cut * 1.25)))
    held_out_images = load_images(held_out, input_at(recipe, recipe.size))
    present = np.concatenate([loaded.labels, held_out_images.labels])
    if len(np.unique(present)) == 1:
        raise DatasetError(f"{name} has readable images of one class, {files.classes[present[0]]}. Training needs two.")
    problems = (
        *files.notes,
        *warnings(files, (*loaded.unreadable, *held_out_images.unreadable)),
        *note_missing_classes(files.classes, present),
    )
    found = TrainingData(files.classes, loaded, held_out_images, problems)
    if files.columns:
        columns = tuple(zip(files.columns.names, files.columns.sizes, strict=True))
        found = replace(found, classes=files.columns.outputs, columns=columns)
    return found if held is None else replace(found, files=files.checksum(), held_out_files=tuple(held.tolist()))


def read_shards(folder: Path, recipe: TrainingConfig) -> TrainingData:
    """Index a folder of shards; only the held-out images are read into memory.

    Raises:
        DatasetError: the data cannot be trained on.
    """
    validation_shards = shards_in(folder, VALIDATION)
    index, validation = rank_zero_first(
        lambda: (read_index(shards_in(folder)), read_index(validation_shards) if validation_shards else None)
    )
    classes = read_class_names(folder, max(int(some.labels.max()) for some in (index, validation) if some))
    if len(classes) == 1:
        raise DatasetError(f"{folder} has one class, {classes[0]}. Training needs two or more.")
    training = Shards(index, input_at(recipe, round(recipe.cut * 1.25)))
    held_out_images = Shards(index, input_at(recipe, recipe.size))
    if validation is not None:
        held_out_images = Shards(validation, held_out_images.preprocess)
    else:
        rest, held = split_indices(index.labels, HELD_OUT, recipe.seed)
        training, held_out_images = training.subset(rest), held_out_images.subset(held)
    if not len(held_out_images.labels):
        raise DatasetError(f"{folder} has one image of each class. Training needs two or more, to hold one out.")
    return TrainingData(classes, training, held_out_images.loaded(), training.warnings(len(classes)))


def input_at(recipe: TrainingConfig, size: int) -> Preprocess:
    """Return the preprocessing of a run at a size."""
    return new_preprocess(recipe.backbone, size, recipe.image_cut, recipe.colour)


def warnings(files: LabelledFiles, unreadable: tuple[Path, ...]) -> tuple[str, ...]:
    """Return warnings about labelled files."""
    counts = np.bincount(files.labels, minlength=len(files.classes))
    single = [name for name, count in zip(files.classes, counts, strict=True) if count == 1]
    alike = [name for name in single_product_classes(files) if name not in single]
    found = [f"{path} is not a readable image and is skipped." for path in unreadable]
    if single:
        found.append(f"Classes with only one image, of which none is held out: {', '.join(single)}.")
    if alike:
        found.append(f"Classes with images of one product only, of which none is held out: {', '.join(alike)}.")
    return tuple(found)


def _unit(files: LabelledFiles) -> str:
    return "product" if np.bincount(files.labels).max(initial=0) > 1 else "image"


def step_seed(recipe: TrainingConfig, epoch: int, step: int = 0) -> int:
    """Return the random seed of an epoch, or of its `step`th step, independent of earlier steps."""
    return ((recipe.seed * 100_003 + epoch) * 1_000_003 + step) % 2**63


def batches(images: ImageSource, recipe: TrainingConfig, epoch: int, begin: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's share of an epoch's augmented batches, from the `begin`th on, all of equal length.

    Contents and crops of a batch depend on the seed alone, not on the number of processes.

    Yields:
        images `(b, size, size, 3)` float32 and labels `(b,)` int64.

    Raises:
        ConfigError: a batch cannot be divided among the processes.
    """
    rank, world = rank_and_world_size()
    if recipe.batch % world or len(images.labels) < world:
        raise ConfigError(
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
