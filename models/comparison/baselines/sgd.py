"""Stochastic gradient descent on fixed features: how the methods that are networks learn here.

Their papers' networks read pixels, and all of their layers learn. Here features stay as they are, the same for every
method, and each network has one hidden layer of its own in the place of the layers that would learn: the same for all
of them, so that what differs is what they are taught.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.network.codes import Floats
from models.training.config import Recipe, epochs_for

# As many as the layer before the last has in the network of Xia et al.
HIDDEN = 500
# The rate falls to zero as a cosine. Fixed features want more decay than a whole network.
BATCH, RATE, MOMENTUM, WEIGHT_DECAY = 128, 0.1, 0.9, 5e-3


class Standardised(nn.Module):
    """Features less their mean, in units of their mean deviation, so that one rate suits all networks' F7."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Floats) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
        self.register_buffer("scale", torch.tensor(max(float(features.std(axis=0).mean()), 1e-12)))

    def forward(self, features: Tensor) -> Tensor:
        """Return `(n, d)`."""
        return (features - self.mean) / self.scale


def build_network(features: Floats, outputs: int, seed: int) -> nn.Sequential:
    """Make a network for features `(n, d)`: the hidden layer, and as many outputs, before any sigmoid."""
    torch.manual_seed(seed)
    hidden = nn.Linear(features.shape[1], HIDDEN)
    return nn.Sequential(Standardised(features), hidden, nn.ReLU(), nn.Linear(HIDDEN, outputs))


def minimise(network: nn.Module, count: int, loss: Callable[[Tensor], Tensor], seed: int) -> None:
    """Move a network's weights so that a loss falls; `loss` is of the images at positions `(b,)`, of `count`.

    It takes as many passes over the images as `lookalike train` does.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    epochs = epochs_for(Recipe(), count)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, math.ceil(count / BATCH) * epochs)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(count, generator=generator), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(loss(chosen))
            optimizer.step()
            schedule.step()
