"""What LSH and ITQ share: one hyperplane a bit, found by what `lookalike fit` makes latent layers with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from models.comparison.baselines.method import MethodError, fitted, packed
from models.errors import DatasetError
from models.network.codes import Codes, Floats
from models.training.itq import Hyperplanes


@dataclass
class OneABit:
    """Codes that say on which side of each hyperplane features lie."""

    bits: int
    seed: int = 0
    _planes: Hyperplanes | None = field(default=None, init=False, repr=False)

    def codes(self, features: Floats) -> Codes:
        """Returns codes of features `(n, d)`."""
        weights, biases = fitted(self._planes)
        return packed(features @ weights.T + biases)

    def learn(self, find: Callable[[Floats, int, int], Hyperplanes], features: Floats) -> None:
        """Finds the hyperplanes for features `(n, d)`.

        Raises:
            MethodError: there are too few features.
        """
        try:
            self._planes = find(features, self.bits, self.seed)
        except DatasetError as error:
            raise MethodError(str(error)) from error
