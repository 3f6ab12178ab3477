"""Binary codes: how activations of the latent layer become bytes, and how codes are compared.

Knows nothing of networks; everything here is NumPy.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Floats = NDArray[np.float32]

THRESHOLD = 0.5  # of an activation, above which its bit is 1


def binarise(activations: Floats) -> Codes:
    """Pack activations of the latent layer into codes (Lin et al. 2015, section 3.3).

    Args:
        activations: `(n, bits)` in 0…1; bits is a multiple of 8.

    Returns:
        `(n, bits / 8)`; a bit is 1 where the activation is above the threshold, the first unit is the highest bit of
        the first byte.
    """
    if activations.ndim != 2 or activations.shape[1] % 8:  # noqa: PLR2004 - rows and units
        raise ValueError(f"activations must be (n, multiple of 8), not {activations.shape}")
    return np.packbits(activations > THRESHOLD, axis=1)


def unpack(codes: Codes) -> Codes:
    """Turn codes `(n, bits / 8)` into bits `(n, bits)` of 0 and 1."""
    return np.unpackbits(codes, axis=1)


def hamming(query: Codes, codes: Codes) -> NDArray[np.int32]:
    """Count the bits in which one code `(bits / 8,)` differs from each of `(n, bits / 8)`; returns `(n,)`."""
    different = np.bitwise_count(np.bitwise_xor(codes, query))
    return cast("NDArray[np.int32]", different.sum(axis=1, dtype=np.int32))
