"""Encoder of an adapted index version: F7 by a network, codes by an H over F7 as it is stored."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.search.encode.batching import Encoder
from app.search.types import Encodings
from models.network.latent_layer import LatentLayer

Features = NDArray[np.float32]


class LatentEncoder:
    """Encodes images like another encoder, with codes by another H.

    Args:
        encoder: computes F7.
        latent: computes codes.
        as_stored: rounds F7 `(n, d)` as the index does when it stores them.
    """

    def __init__(self, encoder: Encoder, latent: LatentLayer, as_stored: Callable[[Features], Features]) -> None:
        self._encoder, self._latent, self._as_stored = encoder, latent, as_stored

    @property
    def queued(self) -> int:
        """Number of queued images."""
        return self._encoder.queued

    def encode_one(self, image: Image.Image) -> Future[Encodings]:
        """Submit the query image of a search."""
        result: Future[Encodings] = Future()

        def finish(encoded: Future[Encodings]) -> None:
            if (error := encoded.exception()) is not None:
                result.set_exception(error)
            else:
                result.set_result(self._with_codes(encoded.result()))

        self._encoder.encode_one(image).add_done_callback(finish)
        return result

    def encode_many(self, images: Sequence[Image.Image]) -> Encodings:
        """Encode images that are being added."""
        return self._with_codes(self._encoder.encode_many(images))

    def _with_codes(self, encoded: Encodings) -> Encodings:
        return Encodings(self._latent.codes(self._as_stored(encoded.features)), encoded.features)
