"""Where the images of tar archives lie: found out by reading the archives' headers, once, and kept in a file.

Two members with one name up to the first dot are one sample: `0017.jpg` and `0017.cls`. Other members are passed over.
"""

import os
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import PICTURE_SUFFIXES
from models.errors import DatasetError

# Offset and size in bytes, and class.
Sample = tuple[int, int, int]


@dataclass(frozen=True)
class ShardIndex:
    """Where each image lies.

    Attributes:
        paths: the archives.
        shards: `(n,)` int32, an index into `paths` each, ascending.
        offsets: `(n,)` int64, where the image's bytes begin in its archive.
        sizes: `(n,)` int64, how many there are.
        labels: `(n,)` int64, the number of its class.
    """

    paths: tuple[Path, ...]
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: NDArray[np.int64]) -> "ShardIndex":
        """Return some of the images; `rows` ascend."""
        return ShardIndex(self.paths, self.shards[rows], self.offsets[rows], self.sizes[rows], self.labels[rows])

    def read(self, row: int) -> bytes:
        """Return an image's bytes.

        Raises:
            DatasetError: the archive has become shorter.
        """
        path, size = self.paths[self.shards[row]], int(self.sizes[row])
        with path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), size, int(self.offsets[row]))
        if len(data) != size:
            raise DatasetError(f"{path} has become shorter since it was first read.")
        return data


def read_index(paths: Sequence[Path]) -> ShardIndex:
    """Find out where everything lies in the archives of one split, or reads what was found out before.

    Raises:
        DatasetError: an archive cannot be read, or an image has no class.
    """
    kept = index_path(paths)
    known = _kept(kept, paths)
    if known is None:
        known = _found(paths)
        _keep(known, kept)
    if not len(known):
        raise DatasetError(f"{paths[0].parent}: the archives hold no images with a class.")
    return known


def index_path(paths: Sequence[Path]) -> Path:
    """Return where it is kept what was found out of a split's archives: `DIR/SPLIT.index.npz`."""
    return paths[0].with_name(f"{paths[0].name.rpartition('-')[0]}.index.npz")


def _found(paths: Sequence[Path]) -> ShardIndex:
    samples = [list(_samples(path)) for path in paths]
    shards = np.repeat(np.arange(len(paths), dtype=np.int32), [len(some) for some in samples])
    numbers = np.array([sample for some in samples for sample in some], np.int64).reshape(-1, 3)
    offsets, sizes, labels = (np.ascontiguousarray(column) for column in numbers.T)
    return ShardIndex(tuple(paths), shards, offsets, sizes, labels)


def _samples(path: Path) -> Iterator[Sample]:
    """Yield the images of an archive."""
    try:
        with tarfile.open(path, "r:") as archive:
            for key, members in groupby(archive, lambda member: _key_and_kind(member.name)[0]):
                if sample := _sample(path, key, archive, list(members)):
                    yield sample
    except (tarfile.TarError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as a tar archive that is not compressed: {error}.") from error


def _sample(path: Path, key: str, archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo]) -> Sample | None:
    """Return what members of one name say; None where no image is among them."""
    kinds = {_key_and_kind(member.name)[1].lower(): member for member in members if member.isfile()}
    images = [member for kind, member in kinds.items() if PurePosixPath(f"_.{kind}").suffix in PICTURE_SUFFIXES]
    if not images:
        return None
    number = archive.extractfile(kinds["cls"]) if "cls" in kinds else None
    text = number.read(20).strip() if number else b""
    if not text.isdigit():
        raise DatasetError(f"{path}: {key} has no class; {key}.cls must hold the number of one, from 0.")
    return images[0].offset_data, images[0].size, int(text)


def _key_and_kind(name: str) -> tuple[str, str]:
    """Split a member's name at the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    key, _, kind = last.partition(".")
    return folder + slash + key, kind


def _state(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Return sizes and times of archives `(n, 2)`, which change when they do."""
    return np.array([(stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in paths)], np.int64)


def _kept(kept: Path, paths: Sequence[Path]) -> ShardIndex | None:
    """Read what was found out before, if that was of these very archives."""
    try:
        with np.load(kept, allow_pickle=False) as file:
            if file["names"].tolist() != [path.name for path in paths] or (file["state"] != _state(paths)).any():
                return None
            return ShardIndex(tuple(paths), file["shards"], file["offsets"], file["sizes"], file["labels"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _keep(index: ShardIndex, kept: Path) -> None:
    """Write down what was found out; where the folder may not be written to it is found out each time."""
    temporary = kept.with_name(f".{kept.name}.{os.getpid()}.npz")
    try:
        np.savez(
            temporary,
            names=[path.name for path in index.paths],
            state=_state(index.paths),
            shards=index.shards,
            offsets=index.offsets,
            sizes=index.sizes,
            labels=index.labels,
        )
        temporary.replace(kept)
    except OSError:
        # Where nothing can be written nothing can be taken away either.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
