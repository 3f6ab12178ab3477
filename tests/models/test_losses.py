import torch

from models.training.config import TrainingConfig
from models.training.losses import bit_balance_loss, loss, quantization_loss


def test_quantization_loss_is_minimal_at_zero_and_one() -> None:
    assert quantization_loss(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).item() == -0.125
    assert quantization_loss(torch.full((2, 2), 0.5)).item() == 0.0


def test_bit_balance_loss_is_minimal_with_half_of_the_bits_set() -> None:
    assert bit_balance_loss(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).item() == 0.0
    assert bit_balance_loss(torch.ones(3, 4)).item() == 0.125


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    logits, activations = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.9, 0.8]])
    labels = torch.tensor([0])
    plain = loss(logits, activations, labels, TrainingConfig(label_smoothing=0))
    both = loss(logits, activations, labels, TrainingConfig(label_smoothing=0, push=2, balance=3))
    torch.testing.assert_close(plain, torch.nn.functional.cross_entropy(logits, labels))
    torch.testing.assert_close(both, plain + 2 * quantization_loss(activations) + 3 * bit_balance_loss(activations))
