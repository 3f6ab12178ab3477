"""Which pictures the demo catalogue holds: twelve labels of thirty pictures, the same on every machine.

Variants, patterns and colours are dealt in turns of different lengths, so that pictures share one or two of
them and rarely all three: every search finds neighbours of several kinds. Does not know how things are drawn.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from PIL import Image

from app.demo.backpacks import BACKPACKS
from app.demo.bags import BAGS
from app.demo.boots import BOOTS
from app.demo.canvas import draw
from app.demo.dresses import DRESSES
from app.demo.hats import HATS
from app.demo.mugs import MUGS
from app.demo.palette import SHADES, WALLS, colour, colourway
from app.demo.parts import Make
from app.demo.patterns import PATTERNS
from app.demo.skirts import SKIRTS
from app.demo.sneakers import SNEAKERS
from app.demo.tops import LONGSLEEVES, T_SHIRTS
from app.demo.trousers import SHORTS, TROUSERS

EACH = 30


@dataclass(frozen=True)
class DemoPicture:
    """A picture for the catalogue, as somebody would bring one: key, picture, label, metadata."""

    key: str
    image: Image.Image
    label: str
    metadata: dict[str, str | int | float]


@dataclass(frozen=True)
class Product:
    """What a label's pictures show, and the least that one costs."""

    variants: Mapping[str, Make]
    price: int


PRODUCTS = {
    "t-shirt": Product(T_SHIRTS, 14),
    "longsleeve": Product(LONGSLEEVES, 29),
    "dress": Product(DRESSES, 44),
    "trousers": Product(TROUSERS, 39),
    "shorts": Product(SHORTS, 24),
    "skirt": Product(SKIRTS, 29),
    "hat": Product(HATS, 17),
    "sneaker": Product(SNEAKERS, 54),
    "boot": Product(BOOTS, 79),
    "bag": Product(BAGS, 49),
    "backpack": Product(BACKPACKS, 45),
    "mug": Product(MUGS, 8),
}
PRINTS = ("plain", "stripes", "dots", "checks", "plain", "floral", "pinstripes", "colour block", "zigzag")


def demo_pictures() -> Iterator[DemoPicture]:
    """Draw all 360, one at a time, the labels taking turns."""
    for number in range(EACH):
        for place, label in enumerate(PRODUCTS):
            yield _picture(label, place, number)


def _picture(label: str, place: int, number: int) -> DemoPicture:
    """The picture of this number within a label that has this place among the labels."""
    key = f"demo-{label}-{number + 1:03d}"
    rng = random.Random(key)  # noqa: S311 - nothing secret hangs on it, and the seed gives the same picture anywhere
    product, names = PRODUCTS[label], list(SHADES)
    variant = list(product.variants)[number % len(product.variants)]
    shade = names[(5 * number + 3 * place) % len(names)]
    pattern = PRINTS[(number + number // len(product.variants) + 2 * place) % len(PRINTS)]
    accent = rng.choice(SHADES[shade].partners)
    price = product.price + rng.randrange(product.price) + 0.9
    wall = colour(rng.choice(WALLS))
    colours, share = colourway(shade, accent), 0.76 + 0.06 * rng.random()
    image = draw(product.variants[variant](), colours, PATTERNS[pattern], wall, share)
    metadata: dict[str, str | int | float] = {
        "colour": shade,
        "accent": accent,
        "pattern": pattern,
        "variant": variant,
        "price": round(price, 2),
    }
    return DemoPicture(key, image, label, metadata)
