"""Resizing and cropping."""

import numpy as np
import pytest
from PIL import Image

from models.network.preprocess import Fit, Preprocess
from tests.images import gradient


def prepare(image: Image.Image, size: int, fit: Fit) -> np.typing.NDArray[np.uint8]:
    return Preprocess(size, fit, (0, 0, 0), (1, 1, 1))(image)


def bands(width: int, height: int) -> Image.Image:
    """Draw red in the left third, green in the middle, blue at the right."""
    image = Image.new("RGB", (3, 1))
    for at, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        image.putpixel((at, 0), colour)
    return image.resize((width, height), Image.Resampling.NEAREST)


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("source", [(300, 100), (100, 300), (5, 5), (1, 1), (2000, 3)])
def test_preprocess_returns_squares(fit: Fit, source: tuple[int, int]) -> None:
    found = prepare(Image.new("RGB", source, (7, 8, 9)), 24, fit)
    assert found.shape == (24, 24, 3)
    assert found.dtype == np.uint8
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[7, 8, 9]]


def test_stretch_keeps_the_whole_image() -> None:
    found = prepare(bands(300, 100), 30, "stretch")
    assert [found[15, at].argmax() for at in (3, 15, 27)] == [0, 1, 2]


def test_crop_keeps_the_central_square() -> None:
    found = prepare(bands(300, 100), 30, "crop")
    assert set(found[:, 3:27].argmax(axis=2).ravel()) == {1}
    upright = prepare(bands(300, 100).rotate(90, expand=True), 30, "crop")
    assert set(upright[3:27].argmax(axis=2).ravel()) == {1}


def test_image_of_the_right_size_is_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    for fit in ("stretch", "crop"):
        np.testing.assert_array_equal(prepare(Image.fromarray(pixels), 24, fit), pixels)


def test_downscaling_averages_pixels() -> None:
    """A checkerboard of single pixels becomes grey."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = prepare(Image.fromarray(board).convert("RGB"), 16, "stretch")
    assert np.abs(found.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_preprocess_is_idempotent(fit: Fit) -> None:
    once = prepare(gradient(200, 130), 48, fit)
    np.testing.assert_array_equal(prepare(Image.fromarray(once), 48, fit), once)
