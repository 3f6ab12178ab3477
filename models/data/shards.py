"""A data set too large for memory: images in tar archives, as WebDataset lays them out, read as a stream.

    DIR/classes.txt               the names of the classes, a line each; without it they are called by number
    DIR/train-000000.tar …        KEY.jpg, or another kind of image, and beside it KEY.cls, the number of its class
    DIR/validation-000000.tar …   likewise, held out to judge by; without them a share of `train` is

An epoch passes over the archives in an order of its own, a few at a time, and takes the images of those few in
random order. That order depends on nothing but the seed, so it is the same for one process and for many, and a run
that was stopped finds its place again. What is in memory is a few batches, however many images there are; where
they lie is found out once and kept in `DIR/train.index.npz`. Knows nothing of networks.

The layout: <https://github.com/webdataset/webdataset>. Compressed archives cannot be read in parts and are refused.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.data.dataset import TRAIN, Batch, LoadedImages, allocate_images, open_rgb
from models.data.shard_index import ShardIndex
from models.errors import DatasetError

# Archives whose images are mixed with each other at a time; and batches that are decoded ahead of the network.
SHUFFLED_SHARDS, PREFETCHED_BATCHES = 8, 4
CLASSES = "classes.txt"

Prepare = Callable[[Image.Image], NDArray[np.uint8]]


def shards_in(folder: Path, split: str = TRAIN) -> list[Path]:
    """List a split's archives, in the order of their names."""
    return sorted(folder.glob(f"{split}-*.tar"))


@dataclass(frozen=True)
class Shards:
    """Images in archives; what training passes over where they do not fit into memory.

    Attributes:
        index: where each one lies.
        prepare: makes `(side, side, 3)` uint8 of an image.
        unreadable: rows of the index that were no images when they were to be read.
    """

    index: ShardIndex
    prepare: Prepare
    unreadable: set[int] = field(default_factory=set, compare=False)

    @property
    def labels(self) -> NDArray[np.int64]:
        """One an image, `(n,)`."""
        return self.index.labels

    @property
    def replaced(self) -> int:
        """How many of them turned out to be no images, so that others stood in for them."""
        return len(self.unreadable)

    def subset(self, rows: NDArray[np.int64]) -> "Shards":
        """Return some of the images."""
        return Shards(self.index.subset(rows), self.prepare)

    def warnings(self, classes: int) -> tuple[str, ...]:
        """Says what a person should know of their archives before they trust the result."""
        shards = len(np.unique(self.index.shards))
        found = len(np.unique(self.index.shards.astype(np.int64) * classes + self.labels)) / shards
        if found >= 0.5 * min(classes, len(self.labels) / shards):
            return ()
        return (
            f"An archive holds images of {found:.0f} classes, of {classes}; training wants them mixed. "
            "`lookalike make-shards` mixes them.",
        )

    def checksum(self) -> int:
        """Tells these images from others, by where they lie, their sizes and classes."""
        parts = (self.index.shards, self.index.offsets, self.index.sizes, self.index.labels)
        return zlib.crc32(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))

    def order(self, seed: int) -> NDArray[np.int64]:
        """Draw an order of all rows, `(n,)`: the archives at random, the images of a few of them at random."""
        rng = np.random.default_rng(seed)
        used = rng.permutation(np.unique(self.index.shards))
        few = (used[first : first + SHUFFLED_SHARDS] for first in range(0, len(used), SHUFFLED_SHARDS))
        return np.concatenate([rng.permutation(np.flatnonzero(np.isin(self.index.shards, some))) for some in few])

    def stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Read and decodes lists of rows, in order and a little ahead.

        An image that cannot be read is stood in for by another of its list: one damaged file must not end a run.

        Raises:
            DatasetError: none of a list can be read.
        """
        announce = _Readahead(self.index)
        waiting: deque[tuple[NDArray[np.int64], list[Future[NDArray[np.uint8] | None]]]] = deque()
        threads = ThreadPoolExecutor(_threads(), "shards")
        try:
            for rows in parts:
                announce(rows)
                waiting.append((rows, [threads.submit(self._picture, int(row)) for row in rows]))
                if len(waiting) > PREFETCHED_BATCHES:
                    yield self._batch(*waiting.popleft())
            while waiting:
                yield self._batch(*waiting.popleft())
        finally:
            threads.shutdown(cancel_futures=True)

    def sample(self, count: int, seed: int) -> LoadedImages:
        """Read so many of the images into memory, or all, chosen at random."""
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.labels))[:count])
        return self.subset(chosen).loaded()

    def loaded(self) -> LoadedImages:
        """Read all of them into memory, or where they would fill it into a file."""
        images: NDArray[np.uint8] | None = None
        labels, done = np.empty(len(self.labels), np.int64), 0
        for found, its_labels in self.stream(np.array_split(np.arange(len(self.labels)), len(self.labels) // 64 + 1)):
            if images is None:
                images = allocate_images(len(self.labels), found.shape[1:])
            here = slice(done, done + len(found))
            images[here], labels[here], done = found, its_labels, done + len(found)
        if images is None:
            raise DatasetError("There are no images in these archives.")
        return LoadedImages(images[:done], labels[:done], ())

    def _picture(self, row: int) -> NDArray[np.uint8] | None:
        data = self.index.read(row)
        try:
            return self.prepare(open_rgb(Path(str(row)), lambda _row: data))
        except OSError:
            self.unreadable.add(row)
            return None

    def _batch(self, rows: NDArray[np.int64], coming: list[Future[NDArray[np.uint8] | None]]) -> Batch:
        images = [future.result() for future in coming]
        good = [at for at, image in enumerate(images) if image is not None]
        if not good:
            raise DatasetError(f"None of {len(rows)} images of {self.index.paths[0].parent} could be read.")
        # The next good one, or the first after the last.
        chosen = [good[np.searchsorted(good, at) % len(good)] for at in range(len(rows))]
        found = [image for at in chosen if (image := images[at]) is not None]
        return np.stack(found), self.labels[rows[chosen]]


class _Readahead:
    """Has the kernel read whole archives ahead, in one go, before their images are taken out in random order."""

    def __init__(self, index: ShardIndex) -> None:
        self._index, self._announced = index, set[int]()

    def __call__(self, rows: NDArray[np.int64]) -> None:
        for shard in set(self._index.shards[rows].tolist()) - self._announced:
            self._announced.add(shard)
            with self._index.paths[shard].open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def read_class_names(folder: Path, most: int) -> tuple[str, ...]:
    """Return the names of the classes 0 to `most`.

    Raises:
        DatasetError: there are fewer names than classes.
    """
    path = folder / CLASSES
    if not path.exists():
        return tuple(str(number) for number in range(most + 1))
    names = tuple(path.read_text().splitlines())
    if most >= len(names):
        raise DatasetError(f"{path} names {len(names)} classes, and the archives have class {most}.")
    return names


def _threads() -> int:
    """Return how many threads decode: the cores, shared with the other processes of this machine."""
    return max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
