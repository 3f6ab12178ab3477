"""Index of the images in tar shards: offsets read from the archives' headers once and cached in a file.

Members with the same name up to the first dot are one sample: `0017.jpg` and `0017.cls`. Other members are ignored.
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

from models.data.image_files import IMAGE_SUFFIXES
from models.errors import DatasetError

# Offset and size in bytes, and label.
Sample = tuple[int, int, int]


@dataclass(frozen=True)
class ShardIndex:
    """Position of every image in a split's shards.

    Attributes:
        paths: the archives.
        shards: `(n,)` int32, indexes into `paths`, ascending.
        offsets: `(n,)` int64, start of the image's bytes in its archive.
        sizes: `(n,)` int64, number of bytes.
        labels: `(n,)` int64, class numbers.
    """

    paths: tuple[Path, ...]
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: NDArray[np.int64]) -> "ShardIndex":
        """Return some of the images; `rows` must be ascending."""
        return ShardIndex(self.paths, self.shards[rows], self.offsets[rows], self.sizes[rows], self.labels[rows])

    def read(self, row: int) -> bytes:
        """Read an image's bytes.

        Raises:
            DatasetError: the archive was truncated since it was indexed.
        """
        path, size = self.paths[self.shards[row]], int(self.sizes[row])
        with path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), size, int(self.offsets[row]))
        if len(data) != size:
            raise DatasetError(f"{path} was truncated after it was indexed. Restore it, and start again.")
        return data


def read_index(paths: Sequence[Path]) -> ShardIndex:
    """Read the index of one split's archives from the cache, or build and cache it.

    Raises:
        DatasetError: an archive cannot be read, or an image has no class.
    """
    cache = index_path(paths)
    index = _read_cache(cache, paths)
    if index is None:
        index = _build(paths)
        _write_cache(index, cache)
    if not len(index):
        raise DatasetError(f"{paths[0].parent}: the archives contain no labelled images (KEY.jpg and KEY.cls).")
    return index


def index_path(paths: Sequence[Path]) -> Path:
    """Return the path of a split's cached index: `DIR/SPLIT.index.npz`."""
    return paths[0].with_name(f"{paths[0].name.rpartition('-')[0]}.index.npz")


def _build(paths: Sequence[Path]) -> ShardIndex:
    samples = [list(_samples(path)) for path in paths]
    shards = np.repeat(np.arange(len(paths), dtype=np.int32), [len(some) for some in samples])
    numbers = np.array([sample for some in samples for sample in some], np.int64).reshape(-1, 3)
    offsets, sizes, labels = (np.ascontiguousarray(column) for column in numbers.T)
    return ShardIndex(tuple(paths), shards, offsets, sizes, labels)


def _samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of an archive."""
    try:
        with tarfile.open(path, "r:") as archive:
            for key, members in groupby(archive, lambda member: _key_and_kind(member.name)[0]):
                if sample := _sample(path, key, archive, list(members)):
                    yield sample
    except (tarfile.TarError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as an uncompressed tar archive: {error}.") from error


def _sample(path: Path, key: str, archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo]) -> Sample | None:
    """Build a sample from members of one key; None without an image."""
    kinds = {_key_and_kind(member.name)[1].lower(): member for member in members if member.isfile()}
    images = [member for kind, member in kinds.items() if PurePosixPath(f"_.{kind}").suffix in IMAGE_SUFFIXES]
    if not images:
        return None
    number = archive.extractfile(kinds["cls"]) if "cls" in kinds else None
    text = number.read(20).strip() if number else b""
    if not text.isdigit():
        raise DatasetError(f"{path}: {key} has no class. Add {key}.cls with a class number, from 0.")
    return images[0].offset_data, images[0].size, int(text)


def _key_and_kind(name: str) -> tuple[str, str]:
    """Split a member's name at the first dot of its last path component."""
    folder, slash, last = name.rpartition("/")
    key, _, kind = last.partition(".")
    return folder + slash + key, kind


def _state(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Return sizes and modification times of archives, `(n, 2)`, to detect changes."""
    return np.array([(stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in paths)], np.int64)


def _read_cache(cache: Path, paths: Sequence[Path]) -> ShardIndex | None:
    """Read the cached index; None if it is missing, damaged or outdated."""
    try:
        with np.load(cache, allow_pickle=False) as file:
            if file["names"].tolist() != [path.name for path in paths] or (file["state"] != _state(paths)).any():
                return None
            return ShardIndex(tuple(paths), file["shards"], file["offsets"], file["sizes"], file["labels"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write_cache(index: ShardIndex, cache: Path) -> None:
    """Write the index to the cache; in a read-only folder it is rebuilt each time."""
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}.npz")
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
        temporary.replace(cache)
    except OSError:
        # A read-only folder allows no deletion either.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
