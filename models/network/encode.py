"""Encode preprocessed images into codes and F7, for training, fitting and evaluation."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from models.network.codes import Codes, Floats, binarise
from models.network.latent_hash_net import LatentHashNet, SearchHead
from models.network.openvino_runtime import OpenVinoRuntime, convert
from models.network.quantised_net import QuantisedNet

BATCH = 64
# Converting a network for OpenVINO takes as long as encoding about this many images with torch.
_MIN_IMAGES_TO_CONVERT = 500

Encode = Callable[[NDArray[np.uint8]], tuple[Codes, Floats]]


def encoder(network: LatentHashNet, images: int) -> Encode:
    """Return the fastest encoder here for a number of images; equals `encode` within float tolerance."""
    converted = isinstance(network, QuantisedNet) or next(network.parameters()).device.type != "cpu"
    if converted or images < _MIN_IMAGES_TO_CONVERT:
        return partial(encode, network)
    runtime = OpenVinoRuntime(convert(network))

    def run(some: NDArray[np.uint8]) -> tuple[Codes, Floats]:
        parts = [runtime(some[first : first + BATCH]) for first in range(0, len(some), BATCH)]
        activations, features = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return binarise(activations), features

    return run


@torch.inference_mode()
def encode(network: LatentHashNet, images: NDArray[np.uint8]) -> tuple[Codes, Floats]:
    """Return codes `(n, bits / 8)` and F7 `(n, d)`, normalised if configured, of images `(n, size, size, 3)` uint8."""
    head, device = SearchHead(network).eval(), next(network.parameters()).device
    parts = [head(torch.from_numpy(images[i : i + BATCH]).to(device)) for i in range(0, len(images), BATCH)]
    activations, features = (torch.cat([part[column] for part in parts]).cpu().numpy() for column in (0, 1))
    return binarise(activations), features
