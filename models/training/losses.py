"""Training losses: class labels, and optionally two terms on the activations of H.

The paper uses the first alone. The others are SSDH's: Yang, Lin, Chen: Supervised Learning of Semantics-Preserving
Hash via Deep Convolutional Neural Networks, TPAMI 2018, section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.training.config import TrainingConfig


def loss(
    logits: Tensor, activations: Tensor, labels: Tensor, recipe: TrainingConfig, columns: Sequence[int] = ()
) -> Tensor:
    """Return the weighted sum of the recipe's loss terms.

    Args:
        logits: F8, `(n, classes)`.
        activations: H, `(n, bits)` in 0…1.
        labels: `(n,)` int64, or `(n, columns)`.
        recipe: weights of the terms.
        columns: number of F8's units of each column of labels; empty for a single column.
    """
    total = class_loss(logits, labels, recipe, columns)
    if recipe.push:
        total = total + recipe.push * quantization_loss(activations)
    if recipe.balance:
        total = total + recipe.balance * bit_balance_loss(activations)
    return total


def class_loss(logits: Tensor, labels: Tensor, recipe: TrainingConfig, columns: Sequence[int] = ()) -> Tensor:
    """Return the softmax loss; with several columns the mean of theirs, each over the images that have a value."""
    if not columns:
        return nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    losses = []
    for column, part in enumerate(torch.split(logits, list(columns), dim=1)):
        present = labels[:, column] >= 0
        # The mean over no image is not a number.
        count = present.sum().clamp(min=1)
        summed = nn.functional.cross_entropy(
            part, labels[:, column], ignore_index=-1, label_smoothing=recipe.label_smoothing, reduction="sum"
        )
        losses.append(summed / count)
    return torch.stack(losses).mean()


def quantization_loss(activations: Tensor) -> Tensor:
    """−½·mean((a − ½)²): minimal where every activation is 0 or 1."""
    return -0.5 * (activations - 0.5).square().mean()


def bit_balance_loss(activations: Tensor) -> Tensor:
    """½·mean over images of (mean of an image's activations − ½)²: minimal where half of its bits are 1."""
    return 0.5 * (activations.mean(dim=1) - 0.5).square().mean()
