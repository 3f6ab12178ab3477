"""Codes and F7: pack activations of the latent layer into bytes, compare codes, scale F7. NumPy only."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Floats = NDArray[np.float32]

THRESHOLD = 0.5  # an activation above this gives a 1 bit


def binarise(activations: Floats) -> Codes:
    """Pack activations of the latent layer into codes (Lin et al. 2015, section 3.3).

    Args:
        activations: `(n, bits)` in 0…1; bits is a multiple of 8.

    Returns:
        `(n, bits / 8)`; a bit is 1 where the activation is above the threshold. The first unit is the most significant
        bit of the first byte.
    """
    if activations.ndim != 2 or activations.shape[1] % 8:  # noqa: PLR2004 - rows and units
        raise ValueError(f"activations must have shape (n, bits) with bits a multiple of 8, not {activations.shape}")
    return np.packbits(activations > THRESHOLD, axis=1)


def unit_length(features: Floats) -> Floats:
    """Scale F7 `(n, d)` to unit length; rows of zeros stay zeros."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return cast("Floats", features / np.maximum(lengths, np.float32(1e-12)))


def unpack(codes: Codes) -> Codes:
    """Unpack codes `(n, bits / 8)` into bits `(n, bits)` of 0 and 1."""
    return np.unpackbits(codes, axis=1)


def hamming(query: Codes, codes: Codes) -> NDArray[np.int32]:
    """Return the Hamming distances `(n,)` between one code `(bits / 8,)` and codes `(n, bits / 8)`."""
    different = np.bitwise_count(np.bitwise_xor(codes, query))
    return cast("NDArray[np.int32]", different.sum(axis=1, dtype=np.int32))
