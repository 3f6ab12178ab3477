"""Data of a comparison: F7 of database and queries, and the relevant images of each query.

Encoding takes longer than all methods together, so encodings are cached in a folder.
"""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import LabelledFiles, read_splits, read_unlabelled
from models.data.folders import TEST, TRAIN, VALIDATION, FolderNotes, subfolders
from models.data.held_out import HELD_OUT, split_files
from models.errors import DatasetError, ModelError
from models.evaluation import metrics
from models.evaluation.encode_files import encode_files
from models.network.codes import Codes, Floats
from models.network.latent_hash_net import LatentHashNet

# Maximum number of images from a folder without labels.
MAX_UNLABELLED = 100_000
# Without labels a query's nearest images by F7 are relevant: this many, or a tenth of a small database.
NEIGHBOURS = 50

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Files:
    """Files of a comparison.

    Attributes:
        database: files to fit on and to search.
        queries: files to search with.
        origin: origin of the queries: `test`, `validation` or `held out`.
        labelled: whether the labels are meaningful.
    """

    database: LabelledFiles
    queries: LabelledFiles
    origin: str
    labelled: bool


@dataclass(frozen=True)
class EncodedSplit:
    """Encodings of database or queries.

    Attributes:
        features: raw F7 `(n, d)` float32.
        labels: `(n,)`.
        codes: the network's own codes, `(n, bits / 8)`.
        unreadable: number of files that were skipped.
    """

    features: Floats
    labels: NDArray[np.int64]
    codes: Codes
    unreadable: int


def read_files(folder: Path, seed: int) -> Files:
    """List the images of `DIR/SPLIT/CLASS/FILE`, `DIR/CLASS/FILE`, or without labels `DIR/FILE`.

    Raises:
        DatasetError: there is nothing to search, or no query.
    """
    # `read_splits` raises the error for a path that is no folder.
    labelled = not folder.is_dir() or bool(subfolders(folder, FolderNotes()))
    splits = read_splits(folder) if labelled else {TRAIN: read_unlabelled(folder, MAX_UNLABELLED, seed)}
    for apart in (TEST, VALIDATION):
        if apart in splits:
            return Files(splits[TRAIN], splits[apart], apart, labelled)
    database, queries = split_files(splits[TRAIN], HELD_OUT, seed)
    if not len(queries):
        raise DatasetError(f"{folder}: every class has only one image. Retrieval needs two or more.")
    return Files(database, queries, "held out", labelled)


def encoded(
    files: LabelledFiles, network: LatentHashNet, fingerprint: str, keep: Path, progress: Progress
) -> EncodedSplit:
    """Encode images, or read the cached encodings of the same images and network.

    Raises:
        DatasetError: no file is readable.
        ModelError: `keep` is not writable.
    """
    path = keep / f"{fingerprint}-{network.preprocess.size}-{checksum(files):08x}.npz"
    if (cached := _read(path)) is not None:
        return cached
    found = encode_files(files, network, None, progress)
    side = EncodedSplit(found.features, found.labels, found.codes, len(found.unreadable))
    try:
        keep.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            _write(side, file)
        temporary.replace(path)
    except OSError as error:
        raise ModelError(f"{keep} is not writable: {error.strerror or error}.") from error
    return side


def checksum(files: LabelledFiles) -> int:
    """Return a checksum of files' paths, labels, sizes and modification times."""
    about = [(path.as_posix(), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files.paths]
    return zlib.crc32(repr((about, files.labels.tolist())).encode())


def relevant_images(database: EncodedSplit, queries: EncodedSplit, labelled: bool) -> Sequence[NDArray[np.int64]]:
    """Return the positions of each query's relevant images: its class, or its nearest images by F7."""
    if labelled:
        classes = {label: np.flatnonzero(database.labels == label) for label in np.unique(queries.labels)}
        return [classes[label] for label in queries.labels]
    count = min(NEIGHBOURS, -(-len(database.labels) // 10))
    distances = metrics.squared_distances(queries.features, database.features)
    return [np.argpartition(near, count - 1)[:count] for near in distances]


def _write(side: EncodedSplit, file: IO[bytes]) -> None:
    np.savez(file, features=side.features, labels=side.labels, codes=side.codes, unreadable=side.unreadable)


def _read(path: Path) -> EncodedSplit | None:
    """Read cached encodings; None if missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as cached:
            return EncodedSplit(cached["features"], cached["labels"], cached["codes"], int(cached["unreadable"]))
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
        return None
