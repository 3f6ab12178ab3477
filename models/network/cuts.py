"""Cuts: ways to keep the proportions of images, by the names that options have."""

from dataclasses import replace
from typing import Any, Literal, get_args

from models.network.preprocess import Preprocess

Cut = Literal["stretch", "square", "square-7/8", "pad"]
CUTS: tuple[Cut, ...] = get_args(Cut)
# Without labels to compare cuts by.
DEFAULT_CUT: Cut = "square-7/8"

_DESCRIPTIONS: dict[Cut, dict[str, Any]] = {
    "stretch": {"fit": "stretch", "crop_ratio": 1.0},
    "square": {"fit": "crop", "crop_ratio": 1.0},
    "square-7/8": {"fit": "crop", "crop_ratio": 0.875},
    "pad": {"fit": "pad", "crop_ratio": 1.0},
}
# JPEGs are decoded at this shorter side or more, whatever is cut off, if nothing is enlarged then: decoding takes most
# of the time besides the network.
_DECODED_SIDE, _MIN_DECODE_SCALE, _MAX_DECODE_SCALE = 280, 1.0, 1.25


def with_cut(preprocess: Preprocess, cut: Cut) -> Preprocess:
    """Return a preprocessing with another cut, and the scale of decoding that suits it."""
    return with_decode_scale(replace(preprocess, **_DESCRIPTIONS[cut]))


def with_decode_scale(preprocess: Preprocess) -> Preprocess:
    """Return a preprocessing with the scale of decoding that suits its size and cut."""
    scale = min(max(_DECODED_SIDE / preprocess.decode_side, _MIN_DECODE_SCALE), _MAX_DECODE_SCALE)
    return replace(preprocess, decode_scale=scale)
