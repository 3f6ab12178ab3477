"""Random crops, flips, brightness and contrast for training, one batch at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Augmentations:
    """Augmentation parameters, one row per image.

    Attributes:
        crops: `(n, 2, 3)`, affine maps from output coordinates to image coordinates, both −1…1.
        gains: `(n, 1, 1, 1)`, brightness factors.
        contrasts: `(n, 1, 1, 1)`, contrast factors.
    """

    crops: Tensor
    gains: Tensor
    contrasts: Tensor

    def share(self, rank: int, world: int) -> "Augmentations":
        """Return every `world`th row from `rank` on."""
        return Augmentations(self.crops[rank::world], self.gains[rank::world], self.contrasts[rank::world])


def draw_augmentations(
    count: int, generator: torch.Generator, min_area: float = 0.5, *, hflip: bool = True
) -> Augmentations:
    """Draw random augmentation parameters.

    Args:
        count: number of images.
        generator: random generator.
        min_area: minimum area of a crop, as a fraction of the image.
        hflip: flip half of the images horizontally.
    """
    crops = _crops(count, generator, min_area, hflip=hflip)
    gains = 1 + 0.4 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    contrasts = 1 + 0.4 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    return Augmentations(crops, gains, contrasts)


def apply_augmentations(images: Tensor, size: int, views: Augmentations) -> Tensor:
    """Augment images `(n, side, side, 3)` uint8; return `(n, size, size, 3)` float32 in 0…255."""
    x = images.permute(0, 3, 1, 2).float()
    grid = nn.functional.affine_grid(views.crops, [len(x), 3, size, size], align_corners=False)
    x = nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    centre = x.mean(dim=(1, 2, 3), keepdim=True)
    x = ((x - centre) * views.contrasts + centre) * views.gains
    return x.clamp(0, 255).permute(0, 2, 3, 1)


def augment(
    images: Tensor, size: int, generator: torch.Generator, min_area: float = 0.5, *, hflip: bool = True
) -> Tensor:
    """Crop images at random, flip half of them, and vary brightness and contrast.

    Args:
        images: `(n, side, side, 3)` uint8.
        size: side of the result.
        generator: random generator.
        min_area: minimum area of a crop, as a fraction of the image.
        hflip: flip half of the images horizontally.

    Returns:
        `(n, size, size, 3)` float32 in 0…255.
    """
    return apply_augmentations(images, size, draw_augmentations(len(images), generator, min_area, hflip=hflip))


def _crops(count: int, generator: torch.Generator, min_area: float, *, hflip: bool) -> Tensor:
    """Draw affine maps `(n, 2, 3)`."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    side = uniform(min_area, 1).sqrt()
    aspect = uniform(-0.25, 0.25).exp()
    width, height = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    theta = torch.zeros(count, 2, 3)
    sides = torch.sign(uniform(-1, 1))
    theta[:, 0, 0] = width * sides if hflip else width
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (1 - width) * uniform(-1, 1)
    theta[:, 1, 2] = (1 - height) * uniform(-1, 1)
    return theta
