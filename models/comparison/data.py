"""What a comparison reads: F7 of the images that are searched and of those that ask, and who is relevant to whom.

Encoding takes longer than all methods together, so what comes of it is kept in a folder and found again.
"""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import (
    HELD_OUT,
    TEST,
    TRAIN,
    VALIDATION,
    LabelledFiles,
    read_splits,
    read_unlabelled,
    split_files,
)
from models.errors import DatasetError, ModelError
from models.evaluation import metrics
from models.evaluation.encode_files import encode_files
from models.network.codes import Codes, Floats
from models.network.latent_hash_net import LatentHashNet

# Of a folder without labels so many images are looked at, at most.
MAX_UNLABELLED = 100_000
# Without labels a query's nearest images by F7 are what codes should find: so many, or a tenth of the few there are.
NEIGHBOURS = 50

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Files:
    """A data set in two parts.

    Attributes:
        database: what is learnt from, and searched.
        queries: what asks.
        origin: where queries come from, `test` or `held out`.
        labelled: whether the labels mean anything.
    """

    database: LabelledFiles
    queries: LabelledFiles
    origin: str
    labelled: bool


@dataclass(frozen=True)
class EncodedSplit:
    """One part as a network sees it.

    Attributes:
        features: raw F7 `(n, d)` float32.
        labels: `(n,)`.
        codes: the network's own, `(n, bits / 8)`.
        unreadable: how many files were left out.
    """

    features: Floats
    labels: NDArray[np.int64]
    codes: Codes
    unreadable: int


def read_files(folder: Path, seed: int) -> Files:
    """List the images of `DIR/SPLIT/CLASS/FILE`, `DIR/CLASS/FILE`, or without labels `DIR/FILE`.

    Raises:
        DatasetError: there is nothing to search, or nothing to ask.
    """
    # What is no folder at all, `read_splits` says best.
    labelled = not folder.is_dir() or any(path.is_dir() for path in folder.iterdir() if path.name[0] != ".")
    splits = read_splits(folder) if labelled else {TRAIN: read_unlabelled(folder, MAX_UNLABELLED, seed)}
    for apart in (TEST, VALIDATION):
        if apart in splits:
            return Files(splits[TRAIN], splits[apart], apart, labelled)
    database, queries = split_files(splits[TRAIN], HELD_OUT, seed)
    if not len(queries):
        raise DatasetError(f"{folder}: no class has two images, one to ask with and one to find.")
    return Files(database, queries, "held out", labelled)


def encoded(
    files: LabelledFiles, network: LatentHashNet, fingerprint: str, keep: Path, progress: Progress
) -> EncodedSplit:
    """Encode images, or finds what an earlier comparison kept of the same images and network.

    Raises:
        DatasetError: none of the files could be read.
        ModelError: `keep` cannot be written to.
    """
    path = keep / f"{fingerprint}-{network.preprocess.size}-{checksum(files):08x}.npz"
    if (kept := _read(path)) is not None:
        return kept
    found = encode_files(files, network, None, progress)
    side = EncodedSplit(found.features, found.labels, found.codes, len(found.unreadable))
    try:
        keep.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            _write(side, file)
        temporary.replace(path)
    except OSError as error:
        raise ModelError(f"{keep} cannot be written to: {error.strerror or error}.") from error
    return side


def checksum(files: LabelledFiles) -> int:
    """Tells images from others: their paths, labels, sizes and times of change."""
    about = [(path.as_posix(), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files.paths]
    return zlib.crc32(repr((about, files.labels.tolist())).encode())


def relevant_images(database: EncodedSplit, queries: EncodedSplit, labelled: bool) -> Sequence[NDArray[np.int64]]:
    """Return for each query the positions of what it should find: its class, or its nearest images by F7."""
    if labelled:
        classes = {label: np.flatnonzero(database.labels == label) for label in np.unique(queries.labels)}
        return [classes[label] for label in queries.labels]
    count = min(NEIGHBOURS, -(-len(database.labels) // 10))
    distances = metrics.squared_distances(queries.features, database.features)
    return [np.argpartition(near, count - 1)[:count] for near in distances]


def _write(side: EncodedSplit, file: IO[bytes]) -> None:
    np.savez(file, features=side.features, labels=side.labels, codes=side.codes, unreadable=side.unreadable)


def _read(path: Path) -> EncodedSplit | None:
    """Read what was kept; None where that is not there, or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            return EncodedSplit(kept["features"], kept["labels"], kept["codes"], int(kept["unreadable"]))
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
        return None
