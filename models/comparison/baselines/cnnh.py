"""CNNH: Xia, Pan, Lai, Liu, Yan: Supervised Hashing for Image Retrieval via Image Representation Learning.

AAAI 2014. Stage 1 factorises similarities into codes: minimise ‖S − HHᵀ/bits‖² over H between −1 and 1 (eq. 1), by
Newton steps on one entry at a time. Stage 2 trains a network to predict those codes; CNNH+ (`cnnh_plus.py`) adds one
output per class, 1 for an image's own class and −1 for the others.

The paper's network reads pixels; the network here reads fixed features, see `sgd.py`.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.comparison.baselines.method import Labels, pack_bits, require_fitted, require_labels, stratified_sample
from models.comparison.baselines.sgd import build_network, minimise
from models.network.codes import Codes, Floats

Doubles = NDArray[np.float64]

# As in the paper's experiments: labelled images, all of whose pairs are used.
LABELLED = 5000
SWEEPS = 3


@dataclass
class FactorisedCodes:
    """Codes factorised from similarities, and a network that regresses them."""

    bits: int
    seed: int = 0
    most: int = LABELLED
    classes: bool = False
    name: str = "CNNH"
    _network: nn.Sequential | None = field(default=None, init=False, repr=False)

    def fit(self, features: Floats, labels: Labels | None = None, /) -> None:
        """Learn from at most `most` of features `(n, d)` and labels `(n,)`, stratified by class.

        Raises:
            MethodError: there are no labels, or only one.
        """
        labels = require_labels(labels, self.name)
        chosen = stratified_sample(labels, self.most, self.seed)
        targets = factorise(labels[chosen], self.bits, np.random.default_rng(self.seed)) > 0
        if self.classes:
            targets = np.hstack([targets, labels[chosen][:, None] == np.unique(labels)])
        self._network = self._regress(features[chosen], np.where(targets, np.float32(1), np.float32(-1)))

    @torch.inference_mode()
    def codes(self, features: Floats) -> Codes:
        """Return the signs of the network's outputs for features `(n, d)`."""
        return pack_bits(require_fitted(self._network)(torch.from_numpy(features))[:, : self.bits].numpy())

    def _regress(self, features: Floats, targets: Floats) -> nn.Sequential:
        network = build_network(features, targets.shape[1], self.seed)
        images, wanted = torch.from_numpy(features), torch.from_numpy(targets)

        def loss(chosen: Tensor) -> Tensor:
            return (torch.tanh(network(images[chosen])) - wanted[chosen]).square().mean()

        minimise(network, len(targets), loss, self.seed)
        return network


def factorise(labels: Labels, bits: int, rng: np.random.Generator) -> Doubles:
    """Return H `(n, bits)` between −1 and 1 whose inner products separate the classes: stage 1, eqs. 1 and 2."""
    codes = rng.uniform(-1, 1, (bits, len(labels)))
    for _ in range(SWEEPS):
        for image in rng.permutation(len(labels)):
            similar = np.where(labels == labels[image], 1.0, -1.0)
            improve(codes, image, similar)
    return codes.T


def improve(codes: Doubles, image: int, similar: Doubles) -> None:
    """Update each entry of an image's code by a Newton step, clipped to −1…1.

    As a function of one entry the objective is, up to a constant, 2 Σ_l (r_l − d·h_l/bits)² over the other images; the
    image's product with itself, one term in n, is neglected.

    Args:
        codes: H `(bits, n)`, changed in place.
        image: position of the image.
        similar: `(n,)`, 1 or −1.
    """
    bits = len(codes)
    residual = similar - codes[:, image] @ codes / bits
    residual[image] = 0
    for bit in range(bits):
        others = codes[bit]
        own = float(others[image])
        slope, curvature = float(others @ residual), float(others @ others) - own**2
        moved = min(max(own + bits * slope / max(curvature, 1e-12), -1.0), 1.0)
        residual -= (moved - own) / bits * others
        residual[image] = 0
        codes[bit, image] = moved
