"""LSH: Charikar: Similarity Estimation Techniques from Rounding Algorithms, STOC 2002, section 3.

Random hyperplanes: two vectors differ in a bit with probability θ/π, θ being the angle between them.
"""

from models.comparison.baselines.hyperplanes import HyperplaneHash
from models.comparison.baselines.method import Labels
from models.network.codes import Floats
from models.training.itq import lsh


class LocalitySensitiveHashing(HyperplaneHash):
    """LSH on centred features, because non-negative features all lie in one orthant."""

    def fit(self, features: Floats, _labels: Labels | None = None, /) -> None:
        """Draw the hyperplanes; only the mean of features `(n, d)` is used."""
        self.learn(lsh, features)
