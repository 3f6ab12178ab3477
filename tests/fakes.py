"""Fake network that needs no inference: similar images get similar codes and features."""

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.search.encode.batching import NetworkInput
from app.search.types import Encodings
from models.checkpoint.info import CheckpointInfo
from models.network.codes import binarise
from models.network.preprocess import Preprocess

BITS = 64
FEATURE_DIM = 48
SIDE = 32


class FullSize(Preprocess):
    """Preprocessing that leaves images as they are, so that the fake network reads all of their pixels."""

    def __call__(self, image: Image.Image, *, whole: bool = False) -> NDArray[np.uint8]:  # noqa: ARG002 - the signature of the base class
        return np.asarray(image)


FAKE_NETWORK = CheckpointInfo(
    name="fake",
    backbone="none",
    bits=BITS,
    feature_dim=FEATURE_DIM,
    feature_norm="raw",
    classes=(),
    preprocess=FullSize(SIDE, "stretch", (0, 0, 0), (1, 1, 1), colour="srgb"),
    fingerprint="fa5e" * 4,
)


FAKE_CHECKPOINT = Path("fake.json")


class FakeEncoder:
    """Encoder whose F7 is the image at 4×4 pixels, and whose code is the sign of random projections of it."""

    queued = 0

    def __init__(self) -> None:
        self._planes = np.random.default_rng(7).normal(size=(FEATURE_DIM, BITS)).astype(np.float32)

    def encode_one(self, image: NetworkInput, *, alone: bool = True) -> Future[Encodings]:  # noqa: ARG002 - callers pass it, as the protocol `Encoder` declares; this fake has no cores to choose
        result: Future[Encodings] = Future()
        result.set_result(self.encode_many([image]))
        return result

    def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
        pictures = [image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images]
        small = [np.asarray(image.convert("RGB").resize((4, 4)), np.float32).reshape(-1) for image in pictures]
        features = (np.stack(small) / 255).astype(np.float32)
        activations = 1 / (1 + np.exp(-(features - np.float32(0.5)) @ self._planes))
        return Encodings(binarise(activations.astype(np.float32)), features)
