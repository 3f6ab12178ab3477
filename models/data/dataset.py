"""Labelled image folders for training and evaluation: `DIR/CLASS/FILE` or `DIR/SPLIT/CLASS/FILE`.

Images are decoded once, to a size slightly above the network's input, and kept as bytes in memory, or in a file if
there are too many: on few cores, decoding in every epoch would take longer than the network.
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
from PIL import Image

from models.data.colour_profile import ProfileError, to_srgb
from models.data.folders import TRAIN, FolderNotes, find_classes, find_images, find_splits
from models.data.iso_brands import Codec, iso_codec, with_usual_brands
from models.data.jpeg_end import jpeg_with_end
from models.data.orientation import RAW_PROFILES, exif_of_raw_profile, make_upright, read_orientation
from models.data.png_depth import png_bit_depth, to_8_bit
from models.errors import DatasetError
from models.network.preprocess import Colour, Preprocess

pi_heif.register_heif_opener()

# Pillow's names of the formats of ISO image files. Both of its decoders take some files of the other format.
_ISO_FORMATS: dict[Codec | None, list[str]] = {"av1": ["AVIF"], "hevc": ["HEIF"]}
# Maximum share of memory for the images of one split.
MEMORY_FRACTION = 0.25


@dataclass(frozen=True)
class LabelColumns:
    """Several labels of each image, such as category and colour.

    Attributes:
        names: of the columns; the first is the one that searches are measured by.
        classes: names of the values of each column.
        targets: `(n, columns)` int64, indexes into the column's classes; −1 where the value is missing.
    """

    names: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    targets: NDArray[np.int64]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each column."""
        return tuple(map(len, self.classes))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of F8's units: one part for each column, whose name stands before the values of further columns."""
        further = zip(self.names[1:], self.classes[1:], strict=True)
        return (*self.classes[0], *(f"{name}: {value}" for name, values in further for value in values))


@dataclass(frozen=True)
class LabelledFiles:
    """Image files with labels.

    Attributes:
        classes: names, in the order of the labels.
        paths: one per image.
        labels: `(n,)` int64, indexes into `classes`.
        read: returns an image's bytes by its path; reads files by default.
        notes: what the user should know about the folder, such as what is left out.
        products: `(n,)` int64, equal for images of one product; None if unknown.
        columns: all labels of the images if there are several; the first column is `labels`.
    """

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    read: Callable[[Path], bytes] = Path.read_bytes
    notes: tuple[str, ...] = ()
    products: NDArray[np.int64] | None = None
    columns: LabelColumns | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def checksum(self) -> int:
        """Return a checksum of file names and labels, independent of the folder's location."""
        names = [(path.parent.name, path.name) for path in self.paths]
        further = [self.columns.targets.tolist()] if self.columns else []
        return zlib.crc32(repr((names, self.labels.tolist(), *further)).encode())

    def subset(self, indices: NDArray[np.int64]) -> "LabelledFiles":
        """Return the files at these positions."""
        products = None if self.products is None else self.products[indices]
        columns = self.columns and replace(self.columns, targets=self.columns.targets[indices])
        paths = tuple(self.paths[i] for i in indices)
        return replace(self, paths=paths, labels=self.labels[indices], products=products, columns=columns)


# Images `(b, side, side, 3)` uint8 and their labels `(b,)` int64, or `(b, columns)` with several columns of labels.
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
# The splits of a data set by name: `train`, and optionally `validation` and `test`.
Splits = Mapping[str, LabelledFiles]


def read_splits(folder: Path) -> dict[str, LabelledFiles]:
    """List the splits of a data set; a folder without split folders is one split, `train`, which has all notes.

    Raises:
        DatasetError: there is no training data, or the splits' classes differ.
    """
    notes = FolderNotes()
    parts = find_splits(folder, notes) or {TRAIN: folder}
    splits = {split: _read_classes(path, notes) for split, path in parts.items()}
    for split, files in splits.items():
        if odd := set(files.classes) ^ set(splits[TRAIN].classes):
            raise DatasetError(f"{parts[split]}: the classes differ from those of {TRAIN}: {', '.join(sorted(odd))}.")
    splits[TRAIN] = replace(splits[TRAIN], notes=notes.lines())
    return splits


def read_unlabelled(folder: Path, most: int, seed: int) -> LabelledFiles:
    """List images anywhere below a folder, a random sample of at most `most`; all with label 0.

    Raises:
        DatasetError: there are none.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder.")
    notes = FolderNotes()
    paths = find_images(folder, notes)
    if not paths:
        raise DatasetError(f"{folder} contains no images.")
    files = LabelledFiles(("",), tuple(paths), np.zeros(len(paths), np.int64), notes=notes.lines())
    return files.subset(np.sort(np.random.default_rng(seed).permutation(len(paths))[:most]))


def open_rgb(path: Path, read: Callable[[Path], bytes] = Path.read_bytes, colour: Colour = "srgb") -> Image.Image:
    """Open an image upright as RGB, with transparency on white; `read` returns its bytes.

    `colour` is that of a network's `Preprocess`; a profile that cannot be used is ignored.

    Raises:
        OSError: it is not a readable image.
    """
    data = read(path)
    # Decoders raise many kinds of exceptions, and one damaged file must not stop training.
    try:
        return _decode_rgb(data, colour)
    except Exception as error:
        with suppress(Exception):
            if (whole := jpeg_with_end(data)) is not None:
                return _decode_rgb(whole, colour)
        raise OSError(f"{path}: {error}") from error


def _decode_rgb(data: bytes, colour: Colour) -> Image.Image:
    formats = _ISO_FORMATS.get(iso_codec(data))
    with Image.open(BytesIO(with_usual_brands(data)), formats=formats) as opened:
        opened.load()  # metadata may follow the pixels
        image = to_8_bit(opened, png_bit_depth(data))
        if colour == "srgb" and (profile := opened.info.get("icc_profile")):
            with suppress(ProfileError):
                image = to_srgb(image, profile)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return make_upright(image.convert("RGB"), _orientation(opened))


def _orientation(image: Image.Image) -> int:
    texts = (image.info.get(name, "") for name in RAW_PROFILES)
    exif = image.info.get("exif") or next(filter(None, (exif_of_raw_profile(text.encode()) for text in texts)), b"")
    return read_orientation(exif)


@dataclass(frozen=True)
class LoadedImages:
    """Images in memory.

    Attributes:
        images: `(n, side, side, 3)` uint8.
        labels: `(n,)` int64.
        unreadable: files that were left out.
        targets: all labels `(n, columns)` if there are several columns; the first is `labels`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    unreadable: tuple[Path, ...]
    targets: NDArray[np.int64] | None = None

    @property
    def replaced(self) -> int:
        """Number of unreadable images replaced while streaming: 0, as they were left out on loading."""
        return 0

    def checksum(self) -> int:
        """Return a checksum of the pixels."""
        return zlib.crc32(np.ascontiguousarray(self.images).data)

    def order(self, seed: int) -> NDArray[np.int64]:
        """Draw a random order of all images, `(n,)`."""
        return np.random.default_rng(seed).permutation(len(self.labels))

    def stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yield batches of images by lists of positions."""
        labels = self.labels if self.targets is None else self.targets
        return ((self.images[rows], labels[rows]) for rows in parts)

    def sample(self, count: int, seed: int) -> "LoadedImages":
        """Return at most `count` images, in random order."""
        chosen = np.random.default_rng(seed).permutation(len(self.labels))[:count]
        targets = None if self.targets is None else self.targets[chosen]
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], targets=targets)

    def resized(self, size: int) -> "LoadedImages":
        """Return the images resized to `(size, size)`."""
        images = (Image.fromarray(image) for image in self.images)
        smaller = [np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in images]
        return replace(self, images=np.stack(smaller))


def load_images(
    files: LabelledFiles,
    preprocess: Preprocess,
    progress: Callable[[int], None] = lambda _done: None,
) -> LoadedImages:
    """Decode and prepare every image; unreadable files are left out and listed.

    Raises:
        DatasetError: no file is readable, or there is no space for the images.
    """
    images: NDArray[np.uint8] | None = None
    kept: list[int] = []
    unreadable: list[Path] = []
    for position, path in enumerate(files.paths):
        try:
            image = preprocess(open_rgb(path, files.read, preprocess.colour))
            if images is None:
                images = allocate_images(len(files), image.shape)
            images[len(kept)] = image
            kept.append(position)
        except OSError:
            unreadable.append(path)
        progress(position + 1)
    if images is None:
        raise DatasetError(f"None of the {len(files)} files is a readable image.")
    targets = files.columns.targets[kept] if files.columns else None
    return LoadedImages(images[: len(kept)], files.labels[kept], tuple(unreadable), targets)


def available_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return the bytes of memory for this process: its share of the machine's, or of its container's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        total = min(total, int(limit.read_text()))
    return total // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def allocate_images(count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Allocate an array for images: in memory, or if too large in a temporary file that lives as long as the array.

    Raises:
        DatasetError: the disk has no space either.
    """
    size = count * int(np.prod(shape))
    if size <= available_memory() * MEMORY_FRACTION:
        return np.empty((count, *shape), np.uint8)
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, "r+", shape=(count, *shape))
    except OSError as error:
        raise DatasetError(
            f"{count:,} images at this size need {size / 1e9:.0f} GB, more than a quarter of memory, and "
            f"{tempfile.gettempdir()} has no space for them ({error}). "
            "Use a smaller --image-size, or set TMPDIR to another folder."
        ) from error


def _read_classes(folder: Path, notes: FolderNotes) -> LabelledFiles:
    members = find_classes(folder, notes)
    classes = tuple(members)
    if not classes:
        raise DatasetError(f"{folder} contains no labelled images. Arrange them as {folder}/CLASS/FILE.jpg.")
    paths = [path for name in classes for path in members[name]]
    labels = np.repeat(np.arange(len(classes)), [len(members[name]) for name in classes])
    return LabelledFiles(classes, tuple(paths), labels.astype(np.int64))
