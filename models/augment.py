"""Random crops, mirrors and light for training, a batch at a time."""

import torch
from torch import Tensor, nn


def augment(
    pictures: Tensor, size: int, generator: torch.Generator, least_area: float = 0.5, *, mirror: bool = True
) -> Tensor:
    """Cuts a random part out of every picture, mirrors half of them, and varies brightness and contrast.

    Args:
        pictures: `(n, side, side, 3)` uint8.
        size: side of the result.
        generator: where the randomness comes from.
        least_area: the smallest share of a picture's area that a cut keeps.
        mirror: whether to mirror any.

    Returns:
        `(n, size, size, 3)` float32 in 0…255.
    """
    x = pictures.permute(0, 3, 1, 2).float()
    crops = _crops(len(x), generator, least_area, mirror=mirror)
    grid = nn.functional.affine_grid(crops, [len(x), 3, size, size], align_corners=False)
    x = nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    gain = 1 + 0.4 * (torch.rand(len(x), 1, 1, 1, generator=generator) - 0.5)
    contrast = 1 + 0.4 * (torch.rand(len(x), 1, 1, 1, generator=generator) - 0.5)
    centre = x.mean(dim=(1, 2, 3), keepdim=True)
    x = ((x - centre) * contrast + centre) * gain
    return x.clamp(0, 255).permute(0, 2, 3, 1)


def _crops(count: int, generator: torch.Generator, least_area: float, *, mirror: bool) -> Tensor:
    """Draws affine maps `(n, 2, 3)` from the result's coordinates to the picture's, both −1…1."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    side = uniform(least_area, 1).sqrt()
    aspect = uniform(-0.25, 0.25).exp()
    width, height = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    theta = torch.zeros(count, 2, 3)
    sides = torch.sign(uniform(-1, 1))
    theta[:, 0, 0] = width * sides if mirror else width
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (1 - width) * uniform(-1, 1)
    theta[:, 1, 2] = (1 - height) * uniform(-1, 1)
    return theta
