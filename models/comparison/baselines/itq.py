"""ITQ: Gong, Lazebnik: Iterative Quantization, CVPR 2011.

The first principal axes V, rotated together until the signs are as near to the projections as can be:
‖B − VR‖² (eq. 2) is made small by turns over the codes B and the rotation R.
"""

from models.comparison.baselines.hyperplanes import HyperplaneHash
from models.comparison.baselines.method import Labels
from models.network.codes import Floats
from models.training.itq import itq


class IterativeQuantisation(HyperplaneHash):
    """All of the work is done in `models/training/itq.py`."""

    def fit(self, features: Floats, _labels: Labels | None = None, /) -> None:
        """Find axes and rotation from all features `(n, d)`.

        Raises:
            MethodError: there are fewer dimensions than bits, or too few images.
        """
        self.learn(itq, features)
