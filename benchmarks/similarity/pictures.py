"""Pictures with known kind and look, and copies and edits of them.

`SHOP` is a folder with a table `products.csv` of articles photographed on white, `CLOTHING` a folder
`SPLIT/CLASS/FILE` of photographs by private sellers.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageOps

from models.data.dataset import open_rgb

Edit = Callable[[Image.Image], bytes]

_NEARLY_WHITE, _BEIGE = 235, (222, 205, 180)


@dataclass(frozen=True)
class Picture:
    """A picture of a data set.

    Attributes:
        path: its file.
        data_set: pictures of two data sets are not compared.
        kind: what it shows, such as shoes.
        look: label and colour; empty if the colour is not known.
    """

    path: Path
    data_set: str
    kind: str
    look: str


def read_shop(folder: Path) -> list[Picture]:
    """List a shop's pictures: the kind is the category, the look is label and colour."""
    with (folder / "products.csv").open(newline="") as table:
        return [
            Picture(folder / row["file"], "shop", row["category"], f"{row['label']}, {row['colour']}")
            for row in csv.DictReader(table)
        ]


def read_clothing(folder: Path) -> list[Picture]:
    """List photographs of clothes: the kind is the class, and the look is not known."""
    return [Picture(path, "clothing", path.parent.name, "") for path in sorted(folder.glob("*/*/*.jpg"))]


def halves(pictures: list[Picture], seed: int = 0) -> tuple[list[Picture], list[Picture]]:
    """Divide pictures into two random halves."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    middle = len(order) // 2
    return [pictures[at] for at in order[:middle]], [pictures[at] for at in order[middle:]]


def edited(picture: Picture, edits: Mapping[str, Edit]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the file of each edit of a picture."""
    image = open_rgb(picture.path)
    for name, edit in edits.items():
        yield name, edit(image)


def _saved(kind: str, scale: float = 1.0, **options: int) -> Edit:
    def save(image: Image.Image) -> bytes:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        return _file(image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS), kind, **options)

    return save


def _file(image: Image.Image, kind: str = "JPEG", **options: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **(options or ({"quality": 90} if kind == "JPEG" else {})))
    return buffer.getvalue()


def _crop(image: Image.Image) -> bytes:
    left, top = round(0.15 * image.width), round(0.1 * image.height)
    return _file(image.crop((left, top, image.width - round(0.05 * image.width), image.height - top)))


def _hue(image: Image.Image) -> bytes:
    """Turn all hues by a third, as a colourway."""
    hue, saturation, value = image.convert("HSV").split()
    turned = ImageChops.add_modulo(hue, Image.new("L", image.size, 85))
    return _file(Image.merge("HSV", (turned, saturation, value)).convert("RGB"))


def _background(image: Image.Image) -> bytes:
    """Put beige in the place of what is nearly white: the background of a shop's pictures."""
    pixels = np.asarray(image).copy()
    pixels[(pixels > _NEARLY_WHITE).all(axis=2)] = _BEIGE
    return _file(Image.fromarray(pixels))


COPIES: dict[str, Edit] = {
    "PNG": _saved("PNG"),
    "JPEG 75": _saved("JPEG", quality=75),
    "JPEG 50": _saved("JPEG", quality=50),
    "WebP 75": _saved("WEBP", quality=75),
    "half, PNG": _saved("PNG", 0.5),
    "half, JPEG 75": _saved("JPEG", 0.5, quality=75),
    "half, JPEG 50": _saved("JPEG", 0.5, quality=50),
    "3/4, WebP 75": _saved("WEBP", 0.75, quality=75),
    "3/2, JPEG 75": _saved("JPEG", 1.5, quality=75),
}
EDITS: dict[str, Edit] = {
    "crop": _crop,
    "flip": lambda image: _file(ImageOps.mirror(image)),
    "other hue": _hue,
    "other background": _background,
}
