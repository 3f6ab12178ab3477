"""The latent layer H over stored F7: codes without a network, in exact arithmetic. NumPy only.

A network computes H from raw F7 in float32, and the result depends in its last bits on the size of the batch. Here F7
is what a vector file stores, and the same F7 must always give the same code: alone as a query or in a batch, on every
machine. So F7 and weights are rounded to multiples of powers of two that are so large that float64 adds their products
without rounding, in any order.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.errors import CheckpointError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = NDArray[np.uint8]

# Every integer up to 2^53 is a float64; one bit is left for the bias.
_EXACT_BITS = 52
_NAMES = {"weights", "biases", "feature_range"}


@dataclass(frozen=True, eq=False)
class LatentLayer:
    """One hyperplane per bit: a bit is 1 where W F7 + b > 0, which is where σ(W F7 + b) > ½.

    Attributes:
        weights: W, `(bits, d)` float32.
        biases: b, `(bits,)` float32.
        feature_range: a power of two; values of F7 beyond ± this are cut off.
    """

    weights: Floats
    biases: Floats
    feature_range: float

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return len(self.weights)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of SHA-256 over everything that determines a code."""
        digest = hashlib.sha256(repr(self.feature_range).encode())
        for array in (self.weights, self.biases):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def projections(self, features: Floats) -> Doubles:
        """Compute W F7 + b `(n, bits)` of F7 `(n, d)` as stored; equal for equal F7, whatever else is computed with it.

        Rows of W are scaled by powers of two, which changes no sign.
        """
        weights, biases, scales = self._exact
        largest = 2.0**self._operand_bits
        whole = np.multiply(features, largest / self.feature_range, dtype=np.float64)
        np.clip(np.rint(whole, out=whole), -largest, largest, out=whole)
        exact: Doubles = (whole @ weights.T + biases) * scales
        return exact

    def codes(self, features: Floats) -> Codes:
        """Compute the codes `(n, bits / 8)` of F7 `(n, d)` as stored."""
        return np.packbits(self.projections(features) > 0, axis=1)

    @cached_property
    def _exact(self) -> tuple[Doubles, Doubles, Doubles]:
        """W and b as whole numbers, and the scale `(bits,)` of their sums."""
        largest = np.maximum(np.abs(self.weights.astype(np.float64)).max(axis=1), np.finfo(np.float32).tiny)
        rows = np.exp2(np.ceil(np.log2(largest))) / 2**self._operand_bits
        scales = rows * (self.feature_range / 2**self._operand_bits)
        most = 2.0**_EXACT_BITS
        return (
            np.rint(self.weights.astype(np.float64) / rows[:, None]),
            np.clip(np.rint(self.biases.astype(np.float64) / scales), -most, most),
            scales,
        )

    @property
    def _operand_bits(self) -> int:
        """Bits of each factor, so that a sum of d products stays exact."""
        return (_EXACT_BITS - math.ceil(math.log2(self.weights.shape[1]))) // 2


def fit_latent_layer(weights: Floats, biases: Floats, features: Floats) -> LatentLayer:
    """Return H with these hyperplanes, with room for F7 twice as large as in a sample `(n, d)`."""
    largest = max(float(np.abs(features).max()), float(np.finfo(np.float32).tiny))
    return LatentLayer(weights, biases, 2.0 ** (math.ceil(math.log2(largest)) + 1))


def to_bytes(layer: LatentLayer) -> bytes:
    """Serialise H as safetensors, which can be read without running code."""
    arrays: dict[str, NDArray[Any]] = {
        "weights": np.ascontiguousarray(layer.weights),
        "biases": np.ascontiguousarray(layer.biases),
        "feature_range": np.array([layer.feature_range], np.float64),
    }
    return save(arrays)


def from_bytes(data: bytes) -> LatentLayer:
    """Read what `to_bytes` wrote.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise CheckpointError(f"A stored latent layer cannot be read as safetensors: {error}") from error
    if set(arrays) != _NAMES or arrays["biases"].ndim != 1 or arrays["weights"].shape[:-1] != arrays["biases"].shape:
        raise CheckpointError("A stored latent layer does not have the weights of one.")
    return LatentLayer(arrays["weights"], arrays["biases"], float(arrays["feature_range"][0]))


def asymmetric_distances(projections: Doubles, code: Codes, codes: Codes) -> NDArray[np.float32]:
    """Sum the query's |W F7 + b| over the bits that differ: 0 for equal codes.

    A bit whose projection is near 0 says little, and costs little here; the Hamming distance counts all bits alike.

    Args:
        projections: the query's, `(bits,)`.
        code: the query's code, `(bits / 8,)`.
        codes: `(n, bits / 8)`.

    Returns:
        `(n,)` float32.
    """
    margins = np.abs(projections).astype(np.float32).reshape(-1, 8)
    # The sum over the bits of every value that a byte can have.
    sums = margins @ _BITS_OF_BYTES
    distances = np.zeros(len(codes), np.float32)
    # Byte by byte, several times as fast as one gather of all bytes.
    for table, different in zip(sums, np.bitwise_xor(codes, code).T, strict=True):
        distances += table.take(different)
    return distances


_BITS_OF_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).T.astype(np.float32)
