"""Data sets larger than memory: images in tar shards in WebDataset's layout, read as a stream.

    DIR/classes.txt               class names, one per line; without it classes are named by number
    DIR/train-000000.tar …        KEY.jpg, or another image format, and KEY.cls with the class number
    DIR/validation-000000.tar …   the same, held out; without them a share of `train` is held out

An epoch reads the shards in random order, a few at a time, and shuffles the images of those few. The order depends on
the seed alone, so it is the same for any number of processes, and a stopped run resumes at the same position. Memory
holds a few batches, whatever the size of the data set; image offsets are indexed once and cached in
`DIR/train.index.npz`.

The layout: <https://github.com/webdataset/webdataset>. Compressed archives allow no random access and are refused.
"""

import os
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Batch, LoadedImages, allocate_images, open_rgb
from models.data.folders import TRAIN
from models.data.shard_index import ShardIndex
from models.errors import DatasetError
from models.network.preprocess import Preprocess

# Shards that are shuffled together, and batches decoded ahead of the network.
SHUFFLED_SHARDS, PREFETCHED_BATCHES = 8, 4
CLASSES = "classes.txt"


def shards_in(folder: Path, split: str = TRAIN) -> list[Path]:
    """List a split's archives, sorted by name."""
    return sorted(folder.glob(f"{split}-*.tar"))


@dataclass(frozen=True)
class Shards:
    """Images in shards: the training data of an epoch if it does not fit into memory.

    Attributes:
        index: positions of the images.
        preprocess: makes the network's input of an image.
        unreadable: rows of the index that turned out not to be readable images.
    """

    index: ShardIndex
    preprocess: Preprocess
    unreadable: set[int] = field(default_factory=set, compare=False)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels `(n,)`."""
        return self.index.labels

    @property
    def replaced(self) -> int:
        """Number of unreadable images that others replaced."""
        return len(self.unreadable)

    def subset(self, rows: NDArray[np.int64]) -> "Shards":
        """Return some of the images; `rows` must be ascending."""
        return Shards(self.index.subset(rows), self.preprocess)

    def warnings(self, classes: int) -> tuple[str, ...]:
        """Return warnings about the shards."""
        shards = len(np.unique(self.index.shards))
        found = len(np.unique(self.index.shards.astype(np.int64) * classes + self.labels)) / shards
        if found >= 0.5 * min(classes, len(self.labels) / shards):
            return ()
        return (
            f"A shard has images of only {found:.0f} of {classes} classes, but training needs them shuffled. "
            "Rebuild the shards with `lookalike make-shards`.",
        )

    def checksum(self) -> int:
        """Return a checksum of positions, sizes and labels."""
        parts = (self.index.shards, self.index.offsets, self.index.sizes, self.index.labels)
        return zlib.crc32(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))

    def order(self, seed: int) -> NDArray[np.int64]:
        """Draw an order of all rows, `(n,)`: shards at random, and images at random within groups of shards."""
        rng = np.random.default_rng(seed)
        used = rng.permutation(np.unique(self.index.shards))
        few = (used[first : first + SHUFFLED_SHARDS] for first in range(0, len(used), SHUFFLED_SHARDS))
        return np.concatenate([rng.permutation(np.flatnonzero(np.isin(self.index.shards, some))) for some in few])

    def stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Read and decode batches by lists of rows, in order, with prefetching.

        An unreadable image is replaced by another of its batch: one damaged file must not stop a run.

        Raises:
            DatasetError: no image of a batch is readable.
        """
        readahead = _Readahead(self.index)
        waiting: deque[tuple[NDArray[np.int64], list[Future[NDArray[np.uint8] | None]]]] = deque()
        threads = ThreadPoolExecutor(_threads(), "shards")
        try:
            for rows in parts:
                readahead(rows)
                waiting.append((rows, [threads.submit(self._decode, int(row)) for row in rows]))
                if len(waiting) > PREFETCHED_BATCHES:
                    yield self._batch(*waiting.popleft())
            while waiting:
                yield self._batch(*waiting.popleft())
        finally:
            threads.shutdown(cancel_futures=True)

    def sample(self, count: int, seed: int) -> LoadedImages:
        """Read a random sample of at most `count` images into memory."""
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.labels))[:count])
        return self.subset(chosen).loaded()

    def loaded(self) -> LoadedImages:
        """Read all images into memory, or into a temporary file if they are too large."""
        images: NDArray[np.uint8] | None = None
        labels, done = np.empty(len(self.labels), np.int64), 0
        for found, its_labels in self.stream(np.array_split(np.arange(len(self.labels)), len(self.labels) // 64 + 1)):
            if images is None:
                images = allocate_images(len(self.labels), found.shape[1:])
            here = slice(done, done + len(found))
            images[here], labels[here], done = found, its_labels, done + len(found)
        if images is None:
            raise DatasetError(f"{self.index.paths[0].parent}: the archives contain no images.")
        return LoadedImages(images[:done], labels[:done], ())

    def _decode(self, row: int) -> NDArray[np.uint8] | None:
        data = self.index.read(row)
        try:
            return self.preprocess(open_rgb(Path(str(row)), lambda _row: data, self.preprocess.colour))
        except OSError:
            self.unreadable.add(row)
            return None

    def _batch(self, rows: NDArray[np.int64], coming: list[Future[NDArray[np.uint8] | None]]) -> Batch:
        images = [future.result() for future in coming]
        good = [at for at, image in enumerate(images) if image is not None]
        if not good:
            raise DatasetError(f"{self.index.paths[0].parent}: none of {len(rows)} images is readable.")
        # The next readable image, wrapping around.
        chosen = [good[np.searchsorted(good, at) % len(good)] for at in range(len(rows))]
        found = [image for at in chosen if (image := images[at]) is not None]
        return np.stack(found), self.labels[rows[chosen]]


class _Readahead:
    """Tell the kernel to read whole shards ahead sequentially, before their images are read in random order."""

    def __init__(self, index: ShardIndex) -> None:
        self._index, self._requested = index, set[int]()

    def __call__(self, rows: NDArray[np.int64]) -> None:
        for shard in set(self._index.shards[rows].tolist()) - self._requested:
            self._requested.add(shard)
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
        raise DatasetError(
            f"{path} has {len(names)} names, but the archives contain class {most}. Add a line for each class."
        )
    return names


def _threads() -> int:
    """Return the number of decoding threads: the cores, divided among this machine's processes."""
    return max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
