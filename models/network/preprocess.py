"""Preprocessing: from an upright RGB image to the array that a network reads.

It is part of a network: stored in its checkpoint and included in its fingerprint. Normalisation to a mean and a scale
happens inside the network, so that batches travel as bytes.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["stretch", "crop", "pad", "stretch+crop"]
Resampling = Literal["bilinear", "bicubic", "lanczos"]
Colour = Literal["ignore", "srgb"]
Box = tuple[float, float, float, float]

_FILTERS: dict[Resampling, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the input of a network.

    Attributes:
        size: side of the square input, in pixels.
        fit: `stretch` resizes both sides to `size`; `crop` cuts out the central square first; `pad` keeps the
            proportions and fills the rest with `pad_colour`; `stretch+crop` makes both views, whose F7 are averaged.
        mean: subtracted from 0…255, one number per channel.
        std: divisor after that, one number per channel.
        crop_ratio: side of the central square over the image's shorter side, above 0 and at most 1.
        pad_colour: RGB, 0…255.
        resampling: filter of the resize.
        colour: `srgb` converts images with another colour profile to sRGB; `ignore` reads values as sRGB.
        decode_scale: JPEGs are decoded at a reduced size of at least this multiple of what is resized. A factor of 2
            keeps every frequency that resizing keeps, at several times the cost.
    """

    size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_ratio: float = 1.0
    pad_colour: tuple[int, int, int] = (255, 255, 255)
    resampling: Resampling = "bilinear"
    colour: Colour = "ignore"
    decode_scale: float = 1.25

    def __post_init__(self) -> None:
        for name, allowed in (("fit", Fit), ("resampling", Resampling), ("colour", Colour)):
            if (value := getattr(self, name)) not in get_args(allowed):
                raise ValueError(f"preprocess.{name} is {value!r}, not one of {', '.join(get_args(allowed))}")
        if not 0 < self.crop_ratio <= 1:
            raise ValueError(f"preprocess.crop_ratio is {self.crop_ratio}, not above 0 and at most 1")
        if not self.decode_scale >= 1:
            raise ValueError(f"preprocess.decode_scale is {self.decode_scale}, less than 1")

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> Self:
        """Read a description, as `to_dict` or `asdict` gives it, from JSON.

        Raises:
            ValueError: it has a field or a value that this version does not know.
            TypeError: a field is missing or has another type.
        """
        if unknown := sorted(set(described) - {field.name for field in fields(cls)}):
            raise ValueError(f"preprocess has fields that this version does not know: {', '.join(unknown)}")
        # JSON has lists in place of tuples. Values are checked by `__post_init__`.
        values: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in described.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Describe the preprocessing without optional fields at their defaults, as checkpoints and fingerprints do.

        So a field that is added later changes no fingerprint of an existing checkpoint.
        """
        described = asdict(self)
        optional = {field.name: field.default for field in fields(self)[4:]}
        return {name: value for name, value in described.items() if optional.get(name, ...) != value}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the input: several views are stacked vertically."""
        return self.views * self.size, self.size, 3

    @property
    def views(self) -> int:
        """Number of views of an image, whose F7 are averaged."""
        return len(self._fits)

    @property
    def decode_side(self) -> int:
        """Shorter side, in pixels, that an image needs so that nothing is enlarged: more if a part is cut out."""
        return math.ceil(self.size / self.crop_ratio) if "crop" in self._fits else self.size

    def __call__(self, image: Image.Image, *, whole: bool = False) -> NDArray[np.uint8]:
        """Turn an RGB image into the network's input, `shape` uint8.

        Args:
            image: upright RGB.
            whole: stretch the image where it would be cut: for a part that a person chose.
        """
        fits = ("stretch" if whole and fit == "crop" else fit for fit in self._fits)
        return np.concatenate([self._view(image, fit) for fit in fits])

    @property
    def _fits(self) -> list[str]:
        return self.fit.split("+")

    def _view(self, image: Image.Image, fit: str) -> NDArray[np.uint8]:
        if fit == "pad":
            return self._pad(image)
        box = _central_square(image, self.crop_ratio) if fit == "crop" else None
        return np.asarray(self._resize(image, (self.size, self.size), box))

    def _pad(self, image: Image.Image) -> NDArray[np.uint8]:
        scale = self.size / max(image.size)
        width, height = (max(round(length * scale), 1) for length in image.size)
        square = Image.new("RGB", (self.size, self.size), self.pad_colour)
        square.paste(self._resize(image, (width, height)), ((self.size - width) // 2, (self.size - height) // 2))
        return np.asarray(square)

    def _resize(self, image: Image.Image, size: tuple[int, int], box: Box | None = None) -> Image.Image:
        # reducing_gap=None: a shortcut would let the result depend on its rounding.
        return image.resize(size, _FILTERS[self.resampling], box=box)


def _central_square(image: Image.Image, ratio: float) -> Box:
    # A part of a pixel at least, so that an image one pixel high is no error.
    side = min(image.size) * ratio
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side
