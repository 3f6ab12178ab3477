"""Contact sheets of search results: a query per row at the left, then its results, framed right or wrong."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from models.data.dataset import open_rgb

_SIDE, _FRAME, _GAP, _APART = 112, 5, 8, 28
RIGHT, WRONG = "#2f9e5b", "#d6404f"


@dataclass(frozen=True)
class Sample:
    """A query and its results.

    Attributes:
        query: path of the query image.
        results: by mode, in ranking order: path of the image, and whether its label is the query's.
    """

    query: Path
    results: dict[str, list[tuple[Path, bool]]]


def sheet(samples: list[Sample], mode: str) -> bytes:
    """Draw one row per query as WebP with a transparent background, for light and dark pages."""
    columns = max(len(sample.results[mode]) for sample in samples)
    cell = _SIDE + _GAP
    image = Image.new("RGBA", (_SIDE + _APART + columns * cell - _GAP, len(samples) * cell - _GAP))
    for row, sample in enumerate(samples):
        image.paste(_thumbnail(sample.query, _SIDE), (0, row * cell))
        for column, (path, right) in enumerate(sample.results[mode]):
            image.paste(_framed(path, right), (_SIDE + _APART + column * cell, row * cell))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=82)
    return file.getvalue()


def _framed(path: Path, right: bool) -> Image.Image:
    """Frame an image green, or red with a cross in the corner for readers who are colour-blind."""
    framed = ImageOps.expand(_thumbnail(path, _SIDE - 2 * _FRAME), _FRAME, RIGHT if right else WRONG)
    if not right:
        draw = ImageDraw.Draw(framed)
        draw.rectangle((_SIDE - 26, 0, _SIDE, 26), fill=WRONG)
        draw.line((_SIDE - 20, 7, _SIDE - 7, 20), fill="white", width=3)
        draw.line((_SIDE - 20, 20, _SIDE - 7, 7), fill="white", width=3)
    return framed


def _thumbnail(path: Path, side: int) -> Image.Image:
    return ImageOps.pad(open_rgb(path), (side, side), color="white")
