"""Tiny labelled folders of coloured images that are easy to separate."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200)}


def coloured_folder(folder: Path, per_class: int = 12, size: int = 48) -> Path:
    """Write `folder/COLOUR/NUMBER.png`, each in its class's colour with noise; return the folder."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            noise = rng.integers(-40, 40, (size, size, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def splits_of(folder: Path) -> Path:
    """Write nine training and three test images per class, and one unreadable training file."""
    whole = coloured_folder(folder / "whole")
    for path in sorted(whole.rglob("*.png")):
        target = folder / ("test" if int(path.stem) < 3 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    (folder / "train" / "blue" / "broken.jpg").write_bytes(b"no picture")
    return folder
