"""Stochastic gradient descent on fixed features, for the neural methods.

In their papers the networks read pixels and train all layers. Here features are fixed and the same for every method,
and each network has the same kind of hidden layer in place of the trained backbone, so that methods differ only in
their training targets.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.network.codes import Floats
from models.training.config import TrainingConfig, epochs_for

# The size of the penultimate layer in the network of Xia et al.
HIDDEN = 500
# The rate has a cosine schedule. Fixed features need more weight decay than a whole network.
BATCH, RATE, MOMENTUM, WEIGHT_DECAY = 128, 0.1, 0.9, 5e-3


class Standardised(nn.Module):
    """Features less their mean, divided by their mean deviation, so that one learning rate suits all networks' F7."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Floats) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
        self.register_buffer("scale", torch.tensor(max(float(features.std(axis=0).mean()), 1e-12)))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features `(n, d)`."""
        return (features - self.mean) / self.scale


def build_network(features: Floats, outputs: int, seed: int) -> nn.Sequential:
    """Build a network for features `(n, d)`: standardisation, hidden layer, and outputs before any sigmoid."""
    torch.manual_seed(seed)
    hidden = nn.Linear(features.shape[1], HIDDEN)
    return nn.Sequential(Standardised(features), hidden, nn.ReLU(), nn.Linear(HIDDEN, outputs))


def minimise(network: nn.Module, count: int, loss: Callable[[Tensor], Tensor], seed: int) -> None:
    """Minimise a loss over a network's weights; `loss` takes positions `(b,)` among `count` images.

    The number of epochs is that of `lookalike train`.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    epochs = epochs_for(TrainingConfig(), count)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, math.ceil(count / BATCH) * epochs)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(count, generator=generator), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(loss(chosen))
            optimizer.step()
            schedule.step()
