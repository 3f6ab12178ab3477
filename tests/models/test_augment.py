"""Augmentation: ranges, variation, determinism."""

import pytest
import torch
from torch import Tensor

from models.data.augment import augment

SIDE = 96


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def maps() -> Tensor:
    """Images that encode pixel positions: red grows to the right, green downwards; blue alternates in squares."""
    ramp = torch.linspace(90, 150, SIDE)
    squares = (torch.arange(SIDE) // 8 % 2)[None] ^ (torch.arange(SIDE) // 8 % 2)[:, None]
    one = torch.stack([ramp[None].expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE), 90 + 60 * squares], dim=2)
    return one.to(torch.uint8).expand(200, SIDE, SIDE, 3).contiguous()


def spans(images: Tensor) -> Tensor:
    """Return the range of each channel's values, `(n, 3)`."""
    flat = images.reshape(len(images), -1, 3)
    return flat.amax(dim=1) - flat.amin(dim=1)


def test_augmented_images_have_the_requested_size_and_value_range(maps: Tensor) -> None:
    found = augment(maps[:5], 40, generator())
    assert found.shape == (5, 40, 40, 3)
    assert found.dtype == torch.float32
    extreme = augment(
        torch.randint(0, 2, (20, 32, 32, 3), generator=generator(), dtype=torch.uint8) * 255, 32, generator()
    )
    assert 0 <= extreme.min() < extreme.max() <= 255


def test_augmentation_is_deterministic_for_a_seed(maps: Tensor) -> None:
    first, again, other = (augment(maps[:5], 40, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("least", [0.3, 0.5])
def test_crops_keep_at_least_the_minimum_area(maps: Tensor, least: float) -> None:
    """Brightness and contrast scale all channels' ranges alike, and blue's range is the same in every crop."""
    red, green, blue = spans(augment(maps, SIDE, generator(), least)).T
    area = red * green / blue**2
    assert area.min() > least * 0.93
    assert area.max() <= 1.02
    assert area.std() > 0.01


def test_half_of_the_images_are_flipped_horizontally_and_none_vertically(maps: Tensor) -> None:
    found = augment(maps, 40, generator())
    rightwards = found[:, :, -5:, 0].mean(dim=(1, 2)) > found[:, :, :5, 0].mean(dim=(1, 2))
    downwards = found[:, -5:, :, 1].mean(dim=(1, 2)) > found[:, :5, :, 1].mean(dim=(1, 2))
    assert 0.4 < rightwards.float().mean() < 0.6
    assert downwards.all()


def test_flips_can_be_disabled(maps: Tensor) -> None:
    found = augment(maps, 40, generator(), hflip=False)
    assert (found[:, :, -5:, 0].mean(dim=(1, 2)) > found[:, :, :5, 0].mean(dim=(1, 2))).all()


def test_brightness_varies_without_a_colour_cast() -> None:
    grey = torch.full((100, 16, 16, 3), 120, dtype=torch.uint8)
    found = augment(grey, 16, generator())
    assert spans(found).max() < 0.01
    torch.testing.assert_close(found[..., 0], found[..., 2])
    tones = found.mean(dim=(1, 2, 3)) / 120
    assert 0.8 <= tones.min() < 0.85
    assert 1.15 < tones.max() <= 1.2


def test_contrast_varies(maps: Tensor) -> None:
    blue = spans(augment(maps, SIDE, generator(), 0.9))[:, 2] / 60
    assert blue.min() < 0.8
    assert blue.max() > 1.2
