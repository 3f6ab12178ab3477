"""CRC-32 checksums of F7, to detect damaged vectors."""

import zlib

import numpy as np
from numpy.typing import NDArray


def checksums(stored: NDArray[np.float32] | NDArray[np.float16]) -> NDArray[np.uint32]:
    """Return the CRC-32 of the bytes of each row of `(n, d)`, `(n,)` uint32."""
    rows = np.ascontiguousarray(stored)
    return np.fromiter((zlib.crc32(row) for row in rows), np.uint32, len(rows))
