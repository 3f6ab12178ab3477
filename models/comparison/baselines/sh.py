"""SH: Weiss, Torralba, Fergus: Spectral Hashing, NIPS 2008.

For a uniform distribution over a box, the smoothest eigenfunctions are known: along an axis from a to b,
Φ_k(x) = sin(π/2 + kπ/(b − a)·(x − a)) with eigenvalue λ_k = 1 − exp(−ε²/2·(kπ/(b − a))²), the smoother the smaller
k/(b − a). The box is aligned to the principal axes; the bits are the signs of the smoothest functions.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.comparison.baselines.method import Labels, MethodError, pack_bits, require_fitted
from models.network.codes import Codes, Floats

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class _Box:
    axes: Floats  # (d, bits)
    starts: Floats  # (bits,), start of the box along each axis
    which: NDArray[np.int64]  # (bits,), the axis of each bit
    frequencies: Floats  # (bits,), kπ/(b − a)


@dataclass
class SpectralHashing:
    """SH: the paper's section "Out of sample extension", in the three steps of its summary."""

    bits: int
    seed: int = 0
    _box: _Box | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, _labels: Labels | None = None, /) -> None:
        """Fit the box to features `(n, d)` and choose its smoothest functions.

        Raises:
            MethodError: there are fewer dimensions than bits, or too few images to compute the axes.
        """
        count, dim = features.shape
        if self.bits > dim:
            raise MethodError(f"SH needs one dimension per bit: {self.bits} bits, but features have {dim}.")
        if count <= self.bits:
            raise MethodError(f"SH needs more than {self.bits} images for {self.bits} bits, not {count}.")
        axes = principal_axes(features, self.bits)
        projected = features @ axes
        starts = projected.min(axis=0)
        lengths = (projected.max(axis=0) - starts).astype(np.float64)
        # A constant axis gets a tiny positive length, so that its functions come last.
        lengths = np.maximum(lengths, max(lengths.max(), 1e-12) * 1e-6)
        which, modes = smoothest(lengths, self.bits)
        frequencies = modes * np.pi / lengths[which]
        self._box = _Box(axes, starts, which, frequencies.astype(np.float32))

    def codes(self, features: Floats) -> Codes:
        """Return the signs of the smoothest functions at features `(n, d)`."""
        box = require_fitted(self._box)
        along = (features @ box.axes - box.starts)[:, box.which]
        return pack_bits(np.sin(np.pi / 2 + along * box.frequencies))


def principal_axes(features: Floats, count: int) -> Floats:
    """Return the first principal axes `(d, count)` of features `(n, d)`."""
    centred = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(axes[:, ::-1][:, :count].astype(np.float32))


def smoothest(lengths: Doubles, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return axis `(count,)` and k `(count,)` of the functions with the smallest eigenvalues on a box.

    Functions of a single axis suffice: the sign of a product is the product of two bits, and less smooth than both.
    """
    modes = np.arange(1, count + 1)
    order = np.argsort((modes[:, None] / lengths).ravel(), kind="stable")[:count]
    return order % len(lengths), modes[order // len(lengths)]
