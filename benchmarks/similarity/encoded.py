"""Encode pictures, and edits of some of them, as the service does: from their files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from benchmarks.similarity.pictures import Edit, Picture, edited
from models.network.codes import Codes, Floats
from models.network.encode import BATCH, encoder
from models.network.latent_hash_net import LatentHashNet

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """Encoded pictures: row i of every array is one file; pictures come first, then the edits.

    Attributes:
        codes: `(n, bits / 8)` uint8.
        features: `(n, d)` float32.
        edits: rows of the pictures and of their edits `(m, 2)`, by the edit's name.
    """

    codes: Codes
    features: Floats
    edits: dict[str, Rows]

    def distances(self, pairs: Rows) -> NDArray[np.float64]:
        """Return the F7 distances of pairs of rows, `(m,)`."""
        distances: NDArray[np.float64] = np.linalg.norm(
            self.features[pairs[:, 0]] - self.features[pairs[:, 1]], axis=1
        ).astype(np.float64)
        return distances


def encode_pictures(
    network: LatentHashNet, pictures: Sequence[Picture], edits: Mapping[str, Edit], edited_pictures: int
) -> Encoded:
    """Encode pictures, and each edit of the first `edited_pictures` of them."""
    prepare = InProcessPreparer(network.preprocess, DecodeLimits())
    run = encoder(network, len(pictures))
    codes, features = list[Codes](), list[Floats]()
    names: dict[str, list[tuple[int, int]]] = {name: [] for name in edits}

    def files() -> Iterator[bytes]:
        yield from (picture.path.read_bytes() for picture in pictures)
        row = len(pictures)
        for at, picture in enumerate(pictures[:edited_pictures]):
            for name, data in edited(picture, edits):
                names[name].append((at, row))
                row += 1
                yield data

    remaining = files()
    while some := list(islice(remaining, BATCH)):
        images = np.stack([np.asarray(prepare(data).image) for data in some])
        batch_codes, batch_features = run(images)
        codes.append(batch_codes)
        features.append(batch_features)
    pairs = {name: np.array(rows, np.int64) for name, rows in names.items()}
    return Encoded(np.concatenate(codes), np.concatenate(features), pairs)
