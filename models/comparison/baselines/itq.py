"""ITQ: Gong, Lazebnik: Iterative Quantization, CVPR 2011.

Projects onto the first principal axes V, and minimises ‖B − VR‖² (eq. 2), alternating between the codes B and the
rotation R.
"""

from models.comparison.baselines.hyperplanes import HyperplaneHash
from models.comparison.baselines.method import Labels
from models.network.codes import Floats
from models.training.itq import itq


class IterativeQuantisation(HyperplaneHash):
    """ITQ; the algorithm is in `models/training/itq.py`."""

    def fit(self, features: Floats, _labels: Labels | None = None, /) -> None:
        """Compute axes and rotation from all features `(n, d)`.

        Raises:
            MethodError: there are fewer dimensions than bits, or too few images.
        """
        self.learn(itq, features)
