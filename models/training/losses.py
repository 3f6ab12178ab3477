"""Training losses: class labels, and optionally two terms on the activations of H.

The paper uses the first alone. The others are SSDH's: Yang, Lin, Chen: Supervised Learning of Semantics-Preserving
Hash via Deep Convolutional Neural Networks, TPAMI 2018, section 3.
"""

from torch import Tensor, nn

from models.training.config import TrainingConfig


def loss(logits: Tensor, activations: Tensor, labels: Tensor, recipe: TrainingConfig) -> Tensor:
    """Return the weighted sum of the recipe's loss terms.

    Args:
        logits: F8, `(n, classes)`.
        activations: H, `(n, bits)` in 0…1.
        labels: `(n,)` int64.
        recipe: weights of the terms.
    """
    total = nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    if recipe.push:
        total = total + recipe.push * quantization_loss(activations)
    if recipe.balance:
        total = total + recipe.balance * bit_balance_loss(activations)
    return total


def quantization_loss(activations: Tensor) -> Tensor:
    """−½·mean((a − ½)²): minimal where every activation is 0 or 1."""
    return -0.5 * (activations - 0.5).square().mean()


def bit_balance_loss(activations: Tensor) -> Tensor:
    """½·mean over images of (mean of an image's activations − ½)²: minimal where half of its bits are 1."""
    return 0.5 * (activations.mean(dim=1) - 0.5).square().mean()
