"""A folder of labelled folders, as training and evaluation read it: `DIR/CLASS/FILE`, or `DIR/SPLIT/CLASS/FILE`.

Knows nothing of networks. Pictures are decoded once, to a size a little above what the network reads, and kept
as bytes, in memory or where they are too many in a file: on few cores decoding would otherwise take longer than the
network does.
"""

import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.errors import DatasetError

pi_heif.register_heif_opener()

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif", ".heic", ".heif"}
TRAIN, VALIDATION, TEST = "train", "validation", "test"
# The share of each class that is held out where a data set has no split for it, and how many pictures are enough.
HELD_OUT, ENOUGH_HELD_OUT = 0.1, 2000
# Of the machine's memory, what the pictures of one split may take.
SHARE_OF_MEMORY = 0.25
# What people call the three parts of a data set.
SPLIT_NAMES = {
    TRAIN: TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    VALIDATION: VALIDATION,
}
SPLIT_NAMES |= {TEST: TEST, "testing": TEST}


@dataclass(frozen=True)
class LabelledFiles:
    """Pictures with their class.

    Attributes:
        classes: names, in the order of the labels.
        paths: one a picture.
        labels: `(n,)` int64, an index into `classes` each.
        read: returns a picture's bytes by its path, which is on disk if nothing else is said.
    """

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    read: Callable[[Path], bytes] = Path.read_bytes

    def __len__(self) -> int:
        return len(self.paths)

    def checksum(self) -> int:
        """Tells these files from others, wherever they lie: their names and labels, in order."""
        names = [(path.parent.name, path.name) for path in self.paths]
        return zlib.crc32(repr((names, self.labels.tolist())).encode())

    def subset(self, indices: NDArray[np.int64]) -> "LabelledFiles":
        """Returns the pictures at these positions."""
        return replace(self, paths=tuple(self.paths[i] for i in indices), labels=self.labels[indices])


# Pictures `(b, side, side, 3)` uint8 and their labels `(b,)` int64.
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
# The splits of a data set by name: `train`, and `validation` and `test` where there are such.
Splits = Mapping[str, LabelledFiles]


def read_splits(folder: Path) -> dict[str, LabelledFiles]:
    """Lists the splits of a data set; a folder without split folders is one split, `train`.

    Raises:
        DatasetError: there is nothing to train on, or the splits' classes differ.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder.")
    parts = {SPLIT_NAMES[path.name]: path for path in _folders(folder) if path.name in SPLIT_NAMES}
    if TRAIN not in parts:
        return {TRAIN: _read_classes(folder)}
    splits = {split: _read_classes(path) for split, path in parts.items()}
    for split, files in splits.items():
        if odd := set(files.classes) ^ set(splits[TRAIN].classes):
            raise DatasetError(f"{parts[split]}: the classes differ from {TRAIN}'s: {', '.join(sorted(odd))}.")
    return splits


def read_unlabelled(folder: Path, most: int, seed: int) -> LabelledFiles:
    """Lists pictures anywhere below a folder, at most so many, chosen at random; all of one class.

    Raises:
        DatasetError: there are none.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder.")
    paths = _pictures(folder)
    if not paths:
        raise DatasetError(f"{folder} holds no pictures.")
    files = LabelledFiles(("",), tuple(paths), np.zeros(len(paths), np.int64))
    return files.subset(np.sort(np.random.default_rng(seed).permutation(len(paths))[:most]))


def hold_out(files: LabelledFiles, share: float, seed: int) -> tuple[LabelledFiles, LabelledFiles]:
    """Splits off a share of every class; returns (rest, held out)."""
    rest, held = held_out(files.labels, share, seed)
    return files.subset(rest), files.subset(held)


def held_out(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits off a share of every class, at least one of each that has two; returns positions (rest, held out).

    Of large sets a smaller share is enough: what is held out is not learnt from.
    """
    share = min(share, ENOUGH_HELD_OUT / max(len(labels), 1))
    rng = np.random.default_rng(seed)
    held: list[int] = []
    for label in range(int(labels.max(initial=-1)) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        held.extend(members[: max(round(len(members) * share), 1) if len(members) > 1 else 0].tolist())
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[held] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def open_rgb(path: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> Image.Image:
    """Opens a picture upright, as RGB, transparency on white; `read` gives its bytes.

    Raises:
        OSError: it cannot be read as a picture.
    """
    data = read(path)
    try:
        with Image.open(BytesIO(data)) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode == "I;16":  # Pillow would clip at 255; the upper of the two bytes is the brightness
                image = Image.frombytes("L", image.size, image.tobytes()[1::2])
            if image.has_transparency_data:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            return image.convert("RGB")
    # Decoders give up in every way there is, and one damaged file must not end a night of training.
    except Exception as error:
        raise OSError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Loaded:
    """Pictures in memory.

    Attributes:
        pictures: `(n, side, side, 3)` uint8.
        labels: `(n,)` int64.
        unreadable: files that were left out.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]
    unreadable: tuple[Path, ...]

    @property
    def replaced(self) -> int:
        """None: what could not be read was left out before."""
        return 0

    def checksum(self) -> int:
        """Tells these pictures from others."""
        return zlib.crc32(np.ascontiguousarray(self.pictures).data)

    def order(self, seed: int) -> NDArray[np.int64]:
        """Draws an order of all pictures, `(n,)`."""
        return np.random.default_rng(seed).permutation(len(self.labels))

    def stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yields lists of pictures by their positions."""
        return ((self.pictures[rows], self.labels[rows]) for rows in parts)

    def at_most(self, count: int, seed: int) -> "Loaded":
        """Returns so many of the pictures, or all, in random order."""
        chosen = np.random.default_rng(seed).permutation(len(self.labels))[:count]
        return replace(self, pictures=self.pictures[chosen], labels=self.labels[chosen])

    def resized(self, size: int) -> "Loaded":
        """Returns the pictures at another size."""
        images = (Image.fromarray(picture) for picture in self.pictures)
        smaller = [np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in images]
        return replace(self, pictures=np.stack(smaller))


def load_pictures(
    files: LabelledFiles,
    prepare: Callable[[Image.Image], NDArray[np.uint8]],
    progress: Callable[[int], None] = lambda _done: None,
) -> Loaded:
    """Decodes every picture and prepares it; files that cannot be read are left out and named.

    Raises:
        DatasetError: none can be read, or there is no room for them.
    """
    pictures: NDArray[np.uint8] | None = None
    kept: list[int] = []
    unreadable: list[Path] = []
    for position, path in enumerate(files.paths):
        try:
            picture = prepare(open_rgb(path, files.read))
            if pictures is None:
                pictures = room_for(len(files), picture.shape)
            pictures[len(kept)] = picture
            kept.append(position)
        except OSError:
            unreadable.append(path)
        progress(position + 1)
    if pictures is None:
        raise DatasetError("None of the files could be read as a picture.")
    return Loaded(pictures[: len(kept)], files.labels[kept], tuple(unreadable))


def memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Returns the bytes of memory that this process may fill: its share of the machine's, or of its container's."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        there = min(there, int(limit.read_text()))
    return there // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def room_for(count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Makes an array for so many pictures: in memory, or where they would fill it in a file that goes with the array.

    Raises:
        DatasetError: the disk has no room either.
    """
    size = count * int(np.prod(shape))
    if size <= memory() * SHARE_OF_MEMORY:
        return np.empty((count, *shape), np.uint8)
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, "r+", shape=(count, *shape))
    except OSError as error:
        raise DatasetError(
            f"{count:,} pictures at this size want {size / 1e9:.0f} GB, more than a quarter of memory, and "
            f"{tempfile.gettempdir()} has no room for them ({error}). "
            "Use a smaller --image-size, or set TMPDIR to another folder."
        ) from error


def _read_classes(folder: Path) -> LabelledFiles:
    members = {path.name: _pictures(path) for path in _folders(folder)}
    classes = tuple(sorted(name for name, paths in members.items() if paths))
    if not classes:
        raise DatasetError(f"{folder} holds no labelled pictures: expected {folder}/CLASS/FILE.jpg and the like.")
    paths = [path for name in classes for path in members[name]]
    labels = np.repeat(np.arange(len(classes)), [len(members[name]) for name in classes])
    return LabelledFiles(classes, tuple(paths), labels.astype(np.int64))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
