"""Colours of the demo catalogue: fourteen shades with matching partners, materials and walls.

A colourway maps every role in a drawing (cloth, trim, sole, ...) to its colour.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Colour = tuple[int, int, int]
"""Red, green, blue in 0 to 255."""


@dataclass(frozen=True)
class Shade:
    """A product colour, and the names of its matching accents."""

    code: str
    partners: tuple[str, str]


SHADES = {
    "ivory": Shade("f2e8d8", ("navy", "terracotta")),
    "camel": Shade("c69a6b", ("ivory", "plum")),
    "mustard": Shade("e5b045", ("charcoal", "ivory")),
    "terracotta": Shade("cb6f50", ("ivory", "sky")),
    "coral": Shade("f08e7c", ("ivory", "teal")),
    "rose": Shade("e6adb3", ("plum", "ivory")),
    "plum": Shade("7b4f72", ("rose", "mustard")),
    "sky": Shade("93c0dc", ("ivory", "navy")),
    "cobalt": Shade("4770b5", ("ivory", "coral")),
    "navy": Shade("31446b", ("ivory", "mustard")),
    "teal": Shade("368883", ("ivory", "mustard")),
    "sage": Shade("a3baa0", ("ivory", "olive")),
    "olive": Shade("858a57", ("ivory", "mustard")),
    "charcoal": Shade("4c5059", ("ivory", "coral")),
}

WALLS = ("f3ede4", "e6edf0", "f5e6e0", "e5ede3", "f4ecd6", "eae6f1")

MATERIALS = {
    "light": "faf6ef",
    "sole": "f4f0e8",
    "rubber": "3d3b40",
    "gum": "c79a68",
    "leather": "9c6b45",
    "metal": "cdb27a",
    "coffee": "5a3a2a",
    "shadow": "3a2f3c",
}


def colour(code: str) -> Colour:
    """Parse `rrggbb`."""
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours, with `share` of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def colourway(name: str, partner: str) -> Mapping[str, Colour]:
    """Return the colour of every role, from a shade and its partner."""
    materials = {role: colour(code) for role, code in MATERIALS.items()}
    base, shadow = colour(SHADES[name].code), materials["shadow"]
    return materials | {
        "cloth": base,
        "base": base,
        "trim": colour(SHADES[partner].code),
        "deep": mix(base, shadow, 0.22),
        "inside": mix(base, shadow, 0.5),
        "pale": mix(base, materials["light"], 0.35),
        "stitch": mix(base, shadow, 0.38),
    }
