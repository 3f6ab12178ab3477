"""Labelled files → what the networks make of them, with little memory: decoded, encoded and let go batch by batch.

Knows nothing of searching.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.dataset import LabelledFiles, open_rgb
from models.errors import DatasetError
from models.network.codes import Codes, Floats
from models.network.encode import BATCH, encoder
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess
from models.training.devices import pick_device


@dataclass(frozen=True)
class Encoded:
    """Images as the networks see them.

    Attributes:
        paths: the images that could be read.
        labels: `(n,)` int64.
        codes: `(n, bits / 8)` uint8.
        features: `(n, d)` float32, raw F7.
        imagenet: the same by the backbone as ImageNet left it, or None.
        unreadable: files that were left out.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    codes: Codes
    features: Floats
    imagenet: Floats | None
    unreadable: tuple[Path, ...] = ()

    def subset(self, chosen: NDArray[np.int64]) -> "Encoded":
        """Return the images at these positions."""
        imagenet = None if self.imagenet is None else self.imagenet[chosen]
        paths = tuple(self.paths[position] for position in chosen)
        return Encoded(paths, self.labels[chosen], self.codes[chosen], self.features[chosen], imagenet)

    def shuffled(self) -> "Encoded":
        """Return the same images in an order that says nothing of their labels, and is the same every time."""
        return replace(self.subset(np.random.default_rng(0).permutation(len(self.labels))), unreadable=self.unreadable)


def encode_files(
    files: LabelledFiles,
    network: LatentHashNet,
    imagenet: LatentHashNet | None,
    progress: Callable[[int, int], None],
) -> Encoded:
    """Encode images a batch at a time, both networks from one decoding; unreadable files are named and left out.

    Raises:
        DatasetError: none could be read.
    """
    features = np.empty((len(files), network.feature_dim), np.float32)
    untrained = np.empty_like(features) if imagenet else None
    codes = np.empty((len(files), network.bits // 8), np.uint8)
    kept: list[int] = []
    run = encoder(network, len(files))
    run_untrained = encoder(imagenet, len(files)) if imagenet else None
    for first in range(0, len(files), BATCH):
        chosen, images = decode(files, range(first, min(first + BATCH, len(files))), network.preprocess)
        here = slice(len(kept), len(kept) + len(chosen))
        if chosen:
            codes[here], features[here] = run(images)
        if chosen and run_untrained and untrained is not None:
            untrained[here] = run_untrained(images)[1]
        kept += chosen
        progress(min(first + BATCH, len(files)), len(files))
    if not kept:
        raise DatasetError(f"None of the {len(files)} files could be read as an image, {files.paths[0]} among them.")
    readable, count = set(kept), len(kept)
    return Encoded(
        paths=tuple(files.paths[position] for position in kept),
        labels=files.labels[kept],
        codes=codes[:count],
        features=features[:count],
        imagenet=None if untrained is None else untrained[:count],
        unreadable=tuple(path for position, path in enumerate(files.paths) if position not in readable),
    )


def prepare_for_inference(network: LatentHashNet) -> LatentHashNet:
    """Make a network give raw F7, as fast as this machine can."""
    network.feature_norm = "raw"
    network.to(pick_device())
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in torch's stubs


def decode(files: LabelledFiles, positions: range, preprocess: Preprocess) -> tuple[list[int], NDArray[np.uint8]]:
    """Return which of these files are images, and them `(m, size, size, 3)` as the network reads them."""
    images: dict[int, NDArray[np.uint8]] = {}
    for position in positions:
        try:
            images[position] = preprocess(open_rgb(files.paths[position], files.read))
        except OSError:
            continue
    return list(images), np.array(list(images.values()), np.uint8).reshape(-1, preprocess.size, preprocess.size, 3)
