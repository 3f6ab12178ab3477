"""Content of the demo catalogue: twelve labels with thirty images each, the same on every machine.

Variants, patterns and colours cycle with different periods, so that images share one or two of them and rarely all
three, and every search finds several kinds of neighbours.
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
from app.demo.parts import DrawVariant
from app.demo.patterns import PATTERNS
from app.demo.skirts import SKIRTS
from app.demo.sneakers import SNEAKERS
from app.demo.tops import LONGSLEEVES, T_SHIRTS
from app.demo.trousers import SHORTS, TROUSERS

IMAGES_PER_LABEL = 30


@dataclass(frozen=True)
class DemoImage:
    """An image to add to the catalogue, with key, label and metadata."""

    key: str
    image: Image.Image
    label: str
    metadata: dict[str, str | int | float]


@dataclass(frozen=True)
class Product:
    """Variants and minimum price of the products of a label."""

    variants: Mapping[str, DrawVariant]
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
# Number of all images.
IMAGES = IMAGES_PER_LABEL * len(PRODUCTS)
PRINTS = ("plain", "stripes", "dots", "checks", "plain", "floral", "pinstripes", "colour block", "zigzag")


def demo_images() -> Iterator[DemoImage]:
    """Draw all 360 images lazily, cycling through the labels."""
    for number in range(IMAGES_PER_LABEL):
        for label_index, label in enumerate(PRODUCTS):
            yield _draw_image(label, label_index, number)


def _draw_image(label: str, label_index: int, number: int) -> DemoImage:
    """Draw the image with a number within a label."""
    key = f"demo-{label}-{number + 1:03d}"
    rng = random.Random(key)  # noqa: S311 - a seeded generator: the same image on every machine
    product, names = PRODUCTS[label], list(SHADES)
    variant = list(product.variants)[number % len(product.variants)]
    shade = names[(5 * number + 3 * label_index) % len(names)]
    pattern = PRINTS[(number + number // len(product.variants) + 2 * label_index) % len(PRINTS)]
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
    return DemoImage(key, image, label, metadata)
