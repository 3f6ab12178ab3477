"""Tiny labelled folders of coloured pictures, easy to tell apart."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200)}


def coloured_folder(folder: Path, per_class: int = 12, size: int = 48) -> Path:
    """Writes `folder/COLOUR/NUMBER.png`, each of its class's colour with noise on it; returns the folder."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            noise = rng.integers(-40, 40, (size, size, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
