"""SH, spectral hashing: Weiss, Torralba, Fergus: Spectral Hashing, NIPS 2008.

Were images spread stratified_sample over a box, the smoothest functions on it would be known: along an axis from a to b,
Φ_k(x) = sin(π/2 + kπ/(b − a)·(x − a)), the smoother the smaller k/(b − a) is (eigenvalue
λ_k = 1 − exp(−ε²/2·(kπ/(b − a))²)). The box is laid along the principal axes; the bits are the signs of the smoothest.
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
    starts: Floats  # (bits,), where the box begins along each axis
    which: NDArray[np.int64]  # (bits,), the axis that a bit looks along
    frequencies: Floats  # (bits,), kπ/(b − a)


@dataclass
class SpectralHashing:
    """The section "Out of sample extension" of the paper, in the three steps of its summary of the algorithm."""

    bits: int
    seed: int = 0
    _box: _Box | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, _labels: Labels | None = None, /) -> None:
        """Lay the box around features `(n, d)` and takes its smoothest functions.

        Raises:
            MethodError: there are fewer dimensions than bits, or too few images to tell as many axes.
        """
        count, dim = features.shape
        if self.bits > dim:
            raise MethodError(f"SH looks along one axis for each of its {self.bits} bits, and features have {dim}.")
        if count <= self.bits:
            raise MethodError(f"SH finds {self.bits} axes in more than {self.bits} images; there are {count}.")
        axes = principal_axes(features, self.bits)
        projected = features @ axes
        starts = projected.min(axis=0)
        lengths = (projected.max(axis=0) - starts).astype(np.float64)
        # An axis along which nothing varies gets a length all the same, so small that its functions come last.
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
    """Return the directions `(d, count)` in which features `(n, d)` vary most, the most first."""
    centred = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(axes[:, ::-1][:, :count].astype(np.float32))


def smoothest(lengths: Doubles, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return axis `(count,)` and k `(count,)` of the functions with the smallest eigenvalues on a box.

    Those that depend on one axis are enough: products of two are the product of two bits, and less smooth than both.
    """
    modes = np.arange(1, count + 1)
    order = np.argsort((modes[:, None] / lengths).ravel(), kind="stable")[:count]
    return order % len(lengths), modes[order // len(lengths)]
