"""Base class of LSH and ITQ: one hyperplane per bit, computed by the functions behind `lookalike fit`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from models.comparison.baselines.method import MethodError, pack_bits, require_fitted
from models.errors import DatasetError
from models.network.codes import Codes, Floats
from models.training.itq import Hyperplanes


@dataclass
class HyperplaneHash:
    """Codes whose bits are the sides of hyperplanes."""

    bits: int
    seed: int = 0
    _planes: Hyperplanes | None = field(default=None, init=False, repr=False)

    def codes(self, features: Floats) -> Codes:
        """Return codes of features `(n, d)`."""
        weights, biases = require_fitted(self._planes)
        return pack_bits(features @ weights.T + biases)

    def learn(self, find: Callable[[Floats, int, int], Hyperplanes], features: Floats) -> None:
        """Compute the hyperplanes from features `(n, d)`.

        Raises:
            MethodError: there are too few features.
        """
        try:
            self._planes = find(features, self.bits, self.seed)
        except DatasetError as error:
            raise MethodError(str(error)) from error
