"""Encode labelled files with constant memory for pixels: decode, encode and discard batch by batch."""

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
    """Encoded images.

    Attributes:
        paths: the readable files.
        labels: `(n,)` int64.
        codes: `(n, bits / 8)` uint8.
        features: `(n, d)` float32, raw F7.
        imagenet: raw F7 of the same backbone with ImageNet weights, or None.
        unreadable: files that were skipped.
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
        """Return the images in a fixed random order, independent of their labels."""
        return replace(self.subset(np.random.default_rng(0).permutation(len(self.labels))), unreadable=self.unreadable)


def encode_files(
    files: LabelledFiles,
    network: LatentHashNet,
    imagenet: LatentHashNet | None,
    progress: Callable[[int, int], None],
) -> Encoded:
    """Encode images in batches, with both networks from one decoding; unreadable files are skipped and listed.

    Raises:
        DatasetError: no file is readable.
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
        raise DatasetError(f"None of the {len(files)} files is a readable image; the first is {files.paths[0]}.")
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
    """Switch a network to raw F7, and move it to the fastest device and memory layout."""
    network.feature_norm = "raw"
    network.to(pick_device())
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in torch's stubs


def decode(files: LabelledFiles, positions: range, preprocess: Preprocess) -> tuple[list[int], NDArray[np.uint8]]:
    """Decode files; return the positions of readable ones, and their images `(m, *Preprocess.shape)`."""
    images: dict[int, NDArray[np.uint8]] = {}
    for position in positions:
        try:
            images[position] = preprocess(open_rgb(files.paths[position], files.read, preprocess.colour))
        except OSError:
            continue
    return list(images), np.array(list(images.values()), np.uint8).reshape(-1, *preprocess.shape)
