"""Packs a folder of labelled folders into tar archives that training reads as a stream (`models/data/shards.py`).

Run it as `lookalike make-shards DIR OUT`. Images are mixed over the archives, and made as small as training needs
them: a data set of photographs shrinks to a tenth. The same images give the same archives, byte for byte. A test
split is not packed: nothing reads archives of one.
"""

import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.dataset import TRAIN, VALIDATION, LabelledFiles, open_rgb, read_splits
from models.data.shard_index import read_index
from models.data.shards import CLASSES, shards_in
from models.errors import DatasetError

# Half a gigabyte at most; and what an image's shorter side is brought down to.
PICTURES, SIDE = 4000, 256
_QUALITY = 90

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class ShardSummary:
    """What became of a folder: how many images went into how many archives, and which could not be read."""

    pictures: int
    archives: int
    unreadable: tuple[Path, ...]


def pack(folder: Path, out: Path, report: Report, side: int = SIDE, images: int = PICTURES) -> ShardSummary:
    """Write the archives of what training reads, `train` and `validation`, and the names of the classes.

    Args:
        folder: `DIR/CLASS/FILE` or `DIR/SPLIT/CLASS/FILE`.
        out: a folder without archives.
        report: hears how many images of how many are done.
        side: what the shorter side of larger images becomes, in pixels.
        images: how many an archive holds.

    Raises:
        DatasetError: the folder holds no data set, or `out` holds archives.
    """
    splits = {split: files for split, files in read_splits(folder).items() if split in {TRAIN, VALIDATION}}
    if out.exists() and any(out.glob("*.tar")):
        raise DatasetError(f"{out} has archives in it. Name a new folder.")
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
    return ShardSummary(total - len(unreadable), len(list(out.glob("*.tar"))), tuple(unreadable))


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Put bytes into an archive; owner and time are the same for all."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, BytesIO(data))


def _write(path: Path, files: LabelledFiles, begin: int, side: int) -> list[Path]:
    """Write one archive, whole or not at all; returns what could not be read."""
    unreadable = []
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for at, (source, found) in enumerate(_pictures(files, side), begin):
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


def _pictures(files: LabelledFiles, side: int) -> Iterator[tuple[Path, tuple[str, bytes] | None]]:
    with ThreadPoolExecutor(os.cpu_count()) as cores:
        found = cores.map(lambda path: _small(path, files.read, side), files.paths)
        yield from zip(files.paths, found, strict=True)


def _small(path: Path, read: Callable[[Path], bytes], side: int) -> tuple[str, bytes] | None:
    """Return an image's kind and bytes: its own where it is small already; None where it cannot be read as one."""
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
