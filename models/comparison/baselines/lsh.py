"""LSH: Charikar: Similarity Estimation Techniques from Rounding Algorithms, STOC 2002, section 3.

Random hyperplanes: two vectors differ in a bit with probability θ/π, θ being the angle between them.
"""

from models.comparison.baselines.hyperplanes import HyperplaneHash
from models.comparison.baselines.method import Labels
from models.network.codes import Floats
from models.training.itq import lsh


class LocalitySensitiveHashing(HyperplaneHash):
    """Angles are seen from the mean, since features that are never negative all lie in one corner."""

    def fit(self, features: Floats, _labels: Labels | None = None, /) -> None:
        """Draw the hyperplanes; of features `(n, d)` only the mean is learnt."""
        self.learn(lsh, features)
