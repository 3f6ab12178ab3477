"""Pack labelled image folders into tar shards that training streams (`models/data/shards.py`).

Run it as `lookalike make-shards DIR OUT`. Images are shuffled over the shards and downscaled to the size that training
needs: a data set of photographs shrinks to a tenth. The same images give byte-identical shards. A test split is not
packed, because nothing reads shards of one.
"""

import os
import tarfile
from collections.abc import Callable, Collection, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.dataset import LabelledFiles, open_rgb, read_splits
from models.data.folders import TRAIN, VALIDATION, note_missing_classes
from models.data.shard_index import read_index
from models.data.shards import CLASSES, shards_in
from models.errors import DatasetError

# Images per shard (half a gigabyte at most), and maximum shorter side of an image in pixels.
PICTURES, SIDE = 4000, 256
_QUALITY = 90

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class ShardSummary:
    """Result of packing.

    Attributes:
        images, shards: their numbers.
        unreadable: files that could not be read.
        notes: what the user should know about the folder, such as what is left out.
    """

    images: int
    shards: int
    unreadable: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def make_shards(folder: Path, out: Path, report: Report, side: int = SIDE, images: int = PICTURES) -> ShardSummary:
    """Write the shards of `train` and `validation`, and the class names.

    Args:
        folder: `DIR/CLASS/FILE` or `DIR/SPLIT/CLASS/FILE`.
        out: a folder without archives.
        report: called with the number of images done, and of all.
        side: maximum shorter side of an image, in pixels.
        images: images per shard.

    Raises:
        DatasetError: the folder holds no data set, or `out` holds archives.
    """
    splits = {split: files for split, files in read_splits(folder).items() if split in {TRAIN, VALIDATION}}
    if out.exists() and any(out.glob("*.tar")):
        raise DatasetError(f"{out} already contains archives. Name a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    (out / CLASSES).write_text("".join(f"{name}\n" for name in splits[TRAIN].classes))
    total, done, unreadable = sum(len(files) for files in splits.values()), 0, list[Path]()
    for split, files in splits.items():
        mixed = files.subset(np.random.default_rng(0).permutation(len(files)))
        for number, begin in enumerate(range(0, len(mixed), images)):
            some = mixed.subset(np.arange(begin, min(begin + images, len(mixed))))
            unreadable += _write(out / f"{split}-{number:06}.tar", some, begin, side)
            done += len(some)
            report(done, total)
        read_index(shards_in(out, split))
    notes = (*splits[TRAIN].notes, *_missing_classes(splits.values(), set(unreadable)))
    return ShardSummary(total - len(unreadable), len(list(out.glob("*.tar"))), tuple(unreadable), notes)


def _missing_classes(splits: Collection[LabelledFiles], unreadable: Set[Path]) -> tuple[str, ...]:
    pairs = [(path, label) for files in splits for path, label in zip(files.paths, files.labels, strict=True)]
    readable = np.array([label for path, label in pairs if path not in unreadable], np.int64)
    return note_missing_classes(next(iter(splits)).classes, readable)


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to an archive, with constant owner and time."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, BytesIO(data))


def _write(path: Path, files: LabelledFiles, begin: int, side: int) -> list[Path]:
    """Write one shard atomically; return the files that could not be read."""
    unreadable = []
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for at, (source, found) in enumerate(_encoded_images(files, side), begin):
                if found is None:
                    unreadable.append(source)
                    continue
                kind, data = found
                add_member(archive, f"{at:09}.{kind}", data)
                add_member(archive, f"{at:09}.cls", b"%d" % files.labels[at - begin])
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return unreadable


def _encoded_images(files: LabelledFiles, side: int) -> Iterator[tuple[Path, tuple[str, bytes] | None]]:
    with ThreadPoolExecutor(os.cpu_count()) as cores:
        found = cores.map(lambda path: _downscaled(path, files.read, side), files.paths)
        yield from zip(files.paths, found, strict=True)


def _downscaled(path: Path, read: Callable[[Path], bytes], side: int) -> tuple[str, bytes] | None:
    """Return an image's format and bytes, downscaled if larger than `side`; None if it is not readable."""
    try:
        data = read(path)
        image = open_rgb(path, lambda _path: data)
    except OSError:
        return None
    shorter = min(image.size)
    if shorter <= side:
        return path.suffix[1:].lower(), data
    size = (round(image.width * side / shorter), round(image.height * side / shorter))
    saved = BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(saved, "JPEG", quality=_QUALITY)
    return "jpg", saved.getvalue()
