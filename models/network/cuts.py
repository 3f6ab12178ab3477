"""Cuts: ways to keep the proportions of images, by the names that options have."""

from dataclasses import replace
from typing import Any, Literal, get_args

from models.network.preprocess import Preprocess

Cut = Literal["stretch", "square", "square-7/8", "pad"]
CUTS: tuple[Cut, ...] = get_args(Cut)
# Without labels to compare cuts by.
DEFAULT_CUT: Cut = "square-7/8"

_DESCRIPTIONS: dict[Cut, dict[str, Any]] = {
    "stretch": {"fit": "stretch", "crop_ratio": 1.0, "decode_scale": 1.25},
    "square": {"fit": "crop", "crop_ratio": 1.0, "decode_scale": 1.25},
    # With this scale JPEGs are decoded at the same size as for the others, and so in the same time.
    "square-7/8": {"fit": "crop", "crop_ratio": 0.875, "decode_scale": 1.25 * 0.875},
    "pad": {"fit": "pad", "crop_ratio": 1.0, "decode_scale": 1.25},
}


def with_cut(preprocess: Preprocess, cut: Cut) -> Preprocess:
    """Return a preprocessing with another cut."""
    return replace(preprocess, **_DESCRIPTIONS[cut])
