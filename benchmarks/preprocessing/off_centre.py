"""Pictures whose objects are not in the middle, made from pictures whose objects are.

A picture is put on a larger one: at a random place, on its own border's colour (`shifted`) or on soft random colours
(`pasted`), a third to four fifths as long as the shorter side of a frame of 4:3. To use such a set elsewhere:

    python -m benchmarks.preprocessing.off_centre DIR OUT --background pasted
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from models.data.dataset import open_rgb

Background = Literal["shifted", "pasted"]
BACKGROUNDS: tuple[Background, ...] = get_args(Background)
MIN_SHARE, MAX_SHARE, FRAME = 0.35, 0.8, 4 / 3
# Shorter side of a frame in pixels: enough for networks of 260 pixels that cut an eighth off.
_MAX_SIDE = 320


def off_centre(image: Image.Image, background: Background, seed: int) -> Image.Image:
    """Put an RGB image at a random place of a larger frame; deterministic by seed."""
    rng = np.random.default_rng(seed)
    short = max(image.size) / rng.uniform(MIN_SHARE, MAX_SHARE)
    sides = (short * FRAME, short) if rng.integers(2) else (short, short * FRAME)
    scale = min(1.0, _MAX_SIDE / short)
    width, height = (round(side * scale) for side in sides)
    small = image.resize([max(round(side * scale), 1) for side in image.size], Image.Resampling.LANCZOS)
    frame = _soft_colours(width, height, rng) if background == "pasted" else _plain(image, width, height)
    frame.paste(small, (int(rng.integers(width - small.width + 1)), int(rng.integers(height - small.height + 1))))
    return frame


def _plain(image: Image.Image, width: int, height: int) -> Image.Image:
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in np.median(border, axis=0))
    return Image.new("RGB", (width, height), (red, green, blue))


def _soft_colours(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Random colours at several scales, the coarse ones strongest."""
    total = np.zeros((height, width, 3), np.float32)
    for cells in (2, 4, 8, 16):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32) / cells
    total -= total.min()
    return Image.fromarray((total * (255 / total.max())).astype(np.uint8))


def write_folder(source: Path, target: Path, background: Background) -> int:
    """Write a copy of a folder of images, with the same names, as PNG; return their number."""
    done = 0
    for seed, path in enumerate(_images(source)):
        file = (target / path.relative_to(source)).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        off_centre(open_rgb(path), background, seed).save(file, compress_level=1)
        done += 1
    return done


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})


def main() -> None:
    """Write a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--background", choices=BACKGROUNDS, default="pasted")
    options = parser.parse_args()
    print(f"{write_folder(options.source, options.target, options.background):,} images written to {options.target}")


if __name__ == "__main__":
    main()
