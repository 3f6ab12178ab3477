"""Random crops, mirrors and light for training, a batch at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Views:
    """How pictures are to be seen, one row a picture: what part, which way round, and in what light.

    Attributes:
        crops: `(n, 2, 3)`, affine maps from the result's coordinates to the picture's, both −1…1.
        gains: `(n, 1, 1, 1)`, how bright.
        contrasts: `(n, 1, 1, 1)`, how strong.
    """

    crops: Tensor
    gains: Tensor
    contrasts: Tensor

    def share(self, rank: int, world: int) -> "Views":
        """Returns every `world`th of them from `rank` on."""
        return Views(self.crops[rank::world], self.gains[rank::world], self.contrasts[rank::world])


def draw(count: int, generator: torch.Generator, least_area: float = 0.5, *, mirror: bool = True) -> Views:
    """Draws how so many pictures are to be seen.

    Args:
        count: how many.
        generator: where the randomness comes from.
        least_area: the smallest share of a picture's area that a cut keeps.
        mirror: whether to mirror any.
    """
    crops = _crops(count, generator, least_area, mirror=mirror)
    gains = 1 + 0.4 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    contrasts = 1 + 0.4 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    return Views(crops, gains, contrasts)


def view(pictures: Tensor, size: int, views: Views) -> Tensor:
    """Cuts the parts out of pictures `(n, side, side, 3)` uint8; returns `(n, size, size, 3)` float32 in 0…255."""
    x = pictures.permute(0, 3, 1, 2).float()
    grid = nn.functional.affine_grid(views.crops, [len(x), 3, size, size], align_corners=False)
    x = nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    centre = x.mean(dim=(1, 2, 3), keepdim=True)
    x = ((x - centre) * views.contrasts + centre) * views.gains
    return x.clamp(0, 255).permute(0, 2, 3, 1)


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
    return view(pictures, size, draw(len(pictures), generator, least_area, mirror=mirror))


def _crops(count: int, generator: torch.Generator, least_area: float, *, mirror: bool) -> Tensor:
    """Draws affine maps `(n, 2, 3)`."""

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
