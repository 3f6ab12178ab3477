"""The paper's method: a latent layer of sigmoid units between features and classes.

Lin, Yang, Hsiao, Chen: Deep Learning of Binary Hash Codes for Fast Image Retrieval, CVPR Workshops 2015, section 3.2:
a code is H > ½, trained by the softmax loss on F8 from class labels alone. Features are fixed here, see `sgd.py`;
`lookalike train` also trains F7. Every labelled image is used: the cost grows with images, not with pairs.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.comparison.baselines.method import Labels, pack_bits, require_fitted, require_labels
from models.comparison.baselines.sgd import build_network, minimise
from models.network.codes import Codes, Floats
from models.training.config import TrainingConfig
from models.training.losses import loss


@dataclass
class LatentLayer:
    """F7 → hidden layer → H → F8; `push` and `balance` are the weights of SSDH's loss terms."""

    bits: int
    seed: int = 0
    push: float = 0.0
    balance: float = 0.0
    name: str = "ours"
    _latent: nn.Sequential | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from all features `(n, d)` and labels `(n,)`.

        Raises:
            MethodError: there are no labels, or only one.
        """
        labels = require_labels(labels, self.name)
        latent = nn.Sequential(build_network(features, self.bits, self.seed), nn.Sigmoid())
        classes = nn.Linear(self.bits, int(labels.max()) + 1)
        recipe = TrainingConfig(push=self.push, balance=self.balance)
        images, targets = torch.from_numpy(features), torch.from_numpy(labels)

        def batch_loss(chosen: Tensor) -> Tensor:
            activations = latent(images[chosen])
            return loss(classes(activations), activations, targets[chosen], recipe)

        minimise(nn.ModuleList([latent, classes]), len(labels), batch_loss, self.seed)
        self._latent = latent

    @torch.inference_mode()
    def codes(self, features: Floats) -> Codes:
        """Return H > ½ of features `(n, d)`."""
        activations = require_fitted(self._latent)(torch.from_numpy(features))
        return pack_bits(activations.numpy() - 0.5)
