from collections import Counter
from itertools import islice

import numpy as np
import pytest

from app.demo import DemoImage, demo_images
from app.demo.canvas import draw
from app.demo.catalogue import IMAGES_PER_LABEL, PRODUCTS
from app.demo.curves import box, ellipse, mirrored, path
from app.demo.masks import dashes
from app.demo.palette import SHADES, colour, colourway
from app.demo.parts import Part
from app.demo.patterns import PATTERNS

pytestmark = pytest.mark.slow

LABELS = {
    "t-shirt", "longsleeve", "dress", "trousers", "shorts", "skirt",
    "hat", "sneaker", "boot", "bag", "backpack", "mug",
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> list[DemoImage]:
    return list(demo_images())


def test_demo_has_thirty_images_of_each_of_twelve_labels(pictures: list[DemoImage]) -> None:
    assert Counter(picture.label for picture in pictures) == dict.fromkeys(LABELS, IMAGES_PER_LABEL)
    assert len(pictures) == 360


def test_keys_are_unique_and_contain_the_label(pictures: list[DemoImage]) -> None:
    assert len({picture.key for picture in pictures}) == len(pictures)
    assert all(picture.key.startswith(f"demo-{picture.label}-") for picture in pictures)
    assert "demo-mug-007" in {picture.key for picture in pictures}


def test_images_are_320_pixels_square_in_rgb(pictures: list[DemoImage]) -> None:
    assert {(picture.image.size, picture.image.mode) for picture in pictures} == {((320, 320), "RGB")}


def test_images_show_an_object_in_the_middle_and_background_in_the_corners(
    pictures: list[DemoImage],
) -> None:
    for picture in pictures:
        pixels = np.asarray(picture.image.reduce(4), dtype=np.int16)
        corner = pixels[:3, :3].reshape(-1, 3)
        far_from_wall = np.abs(pixels - corner.mean(axis=0)).max(axis=2) > 24
        assert np.ptp(corner, axis=0).max() < 12, picture.key
        assert 0.08 < far_from_wall.mean() < 0.75, picture.key


def test_images_are_distinct(pictures: list[DemoImage]) -> None:
    assert len({picture.image.tobytes() for picture in pictures}) == len(pictures)


def test_drawing_is_deterministic(pictures: list[DemoImage]) -> None:
    for first, again in zip(pictures, islice(demo_images(), 2 * len(LABELS)), strict=False):
        assert again == first


def test_metadata_describe_the_image(pictures: list[DemoImage]) -> None:
    for picture in pictures:
        metadata = picture.metadata
        assert set(metadata) == {"colour", "accent", "pattern", "variant", "price"}
        assert metadata["colour"] in SHADES
        assert metadata["accent"] in SHADES
        assert metadata["pattern"] in PATTERNS
        assert metadata["variant"] in PRODUCTS[picture.label].variants
        price = metadata["price"]
        assert isinstance(price, float)
        assert 5 < price < 200


@pytest.mark.parametrize("field", ["colour", "pattern", "variant"])
def test_every_value_within_a_label_is_shared_by_two_images(field: str, pictures: list[DemoImage]) -> None:
    shared = Counter((picture.label, picture.metadata[field]) for picture in pictures)
    assert min(shared.values()) >= 2


def test_every_colour_pattern_and_variant_is_used(pictures: list[DemoImage]) -> None:
    assert {picture.metadata["colour"] for picture in pictures} == set(SHADES)
    assert {picture.metadata["pattern"] for picture in pictures} == set(PATTERNS)
    for label, product in PRODUCTS.items():
        drawn = {picture.metadata["variant"] for picture in pictures if picture.label == label}
        assert drawn == set(product.variants)


@pytest.mark.parametrize("name", [name for name in PATTERNS if name != "plain"])
def test_pattern_changes_pixels_inside_the_outline_only(name: str) -> None:
    square = [Part(box(20, 20, 80, 80), relief=0)]
    printed, plain = (
        np.asarray(draw(square, colourway("navy", "ivory"), PATTERNS[kind], colour("f3ede4")), dtype=np.int16)
        for kind in (name, "plain")
    )
    changed = np.abs(printed - plain).max(axis=2) > 100
    assert 0.05 < changed[50:270, 50:270].mean() < 0.75
    assert np.array_equal(printed[:20], plain[:20])


def test_part_is_painted_only_within_its_clip() -> None:
    whole, clip = box(20, 20, 80, 80), box(20, 20, 50, 80, 0)
    colours, wall = colourway("ivory", "navy"), colour("f3ede4")
    parts = [Part(whole, relief=0), Part(whole, "trim", clip=clip, relief=0)]
    pixels = np.asarray(draw(parts, colours, PATTERNS["plain"], wall))
    assert tuple(pixels[160, 100]) == colours["trim"]
    assert tuple(pixels[160, 220]) == colours["cloth"]


def test_path_contains_the_end_points_of_its_steps() -> None:
    curve = path((0, 0), (10, 0), (15, 0, 15, 5), (15, 8, 12, 10, 10, 10))
    for point in ((0, 0), (10, 0), (15, 5), (10, 10)):
        assert np.isclose(curve, point).all(axis=1).any()


def test_ellipse_has_its_radii() -> None:
    offsets = (ellipse(40, 60, 20, 10) - (40, 60)) / (20, 10)
    assert np.allclose((offsets**2).sum(axis=1), 1, atol=2e-3)


def test_mirrored_curve_is_symmetric() -> None:
    curve = mirrored(path((50, 10), (70, 20), (60, 90)))
    assert np.allclose(curve[::-1] * (-1, 1) + (100, 0), curve)


def test_dashes_and_gaps_have_the_given_length() -> None:
    pieces = dashes(np.array([[0.0, 0.0], [10.0, 0.0]]), 1)
    assert [tuple(piece[:, 0]) for piece in pieces] == [
        (0.5, 1.5),
        (2.5, 3.5),
        (4.5, 5.5),
        (6.5, 7.5),
        (8.5, 9.5),
    ]
